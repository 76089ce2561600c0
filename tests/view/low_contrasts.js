// The texts in sight whose contrast is under WCAG's AA for text of ordinary size.

const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

function rgba(colour) {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}

function over(top, below) {
  return [0, 1, 2].map((n) => top[n] * top[3] + below[n] * (1 - top[3])).concat(1);
}

function behind(element) {
  const stack = [];
  for (let at = element; at; at = at.parentElement) {
    const colour = rgba(getComputedStyle(at).backgroundColor);
    if (colour[3]) stack.push(colour);
    if (colour[3] === 1) break;
  }
  return stack.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
}

function luminance(colour) {
  const [r, g, b] = colour.slice(0, 3).map((value) => {
    const share = value / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

const skipped = new Set(["SCRIPT", "STYLE", "OPTION", "NOSCRIPT", "title"]);
const found = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const element = node.parentElement;
  const text = node.textContent.trim();
  if (!text || skipped.has(element.tagName) || !element.checkVisibility()) continue;
  const style = getComputedStyle(element);
  const below = behind(element);
  const ink = over(rgba(element instanceof SVGElement ? style.fill : style.color), below);
  const [a, b] = [luminance(ink), luminance(below)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.add(`${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
}
return [...found];
