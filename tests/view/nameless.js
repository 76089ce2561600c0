// What a screen reader would find without a name.

const wanted = "svg[role=img], button, a, input, select, section, [role=region], [role=group]";

function named(element) {
  return (
    element.ariaLabel ||
    element.getAttribute("aria-labelledby") ||
    element.title ||
    element.textContent.trim() ||
    element.labels?.length
  );
}

return [...document.querySelectorAll(wanted)]
  .filter((element) => !named(element))
  .map((element) => element.outerHTML.slice(0, 80));
