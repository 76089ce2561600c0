// Where the figures come from in a file: two compressed blocks in the page itself: columns, and JSON.

import { start } from "./app.js";

async function block(id) {
  const text = document.getElementById(id).textContent.trim();
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

let tasks = null;

start({
  live: false,
  book: () => block("book-data"),
  task: async (id) => {
    tasks ??= JSON.parse(new TextDecoder().decode(await block("task-data")));
    const found = tasks[id];
    if (!found) throw new Error(`${id} is in the sums, but its calls are not in this file; agentkit view shows them.`);
    return found;
  },
});
