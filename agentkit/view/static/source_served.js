// Where the figures come from while the page is served: the same address, with its token.

import { start } from "./app.js";

const token = new URLSearchParams(location.search).get("token") ?? "";

async function ask(path, parameters = {}) {
  const query = new URLSearchParams({ ...parameters, token });
  const response = await fetch(`${path}?${query}`, { cache: "no-store", credentials: "same-origin" });
  if (response.status === 204) return null;
  if (response.headers.get("content-type") === "application/octet-stream") return response.arrayBuffer();
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? `status ${response.status}`);
  return body;
}

start({
  live: true,
  book: (version) => ask("api/book", { since: version }),
  task: (id) => ask("api/task", { id }),
});
