// How the page writes things: elements, words, figures.
export function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

export const words = (code) => code.replaceAll("_", " ");

// Four significant digits at least, all digits before the point, as `edgebms explain` has them.
export function plain(value) {
  const places = value === 0 ? 0 : Math.min(Math.max(3 - Math.floor(Math.log10(Math.abs(value))), 0), 6);
  const text = value.toFixed(places);
  const trimmed = text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
  return trimmed === "-0" ? "0" : trimmed.replace("-", "−");
}

// The unrounded value stands beside what is shown; null stays null.
export function exact(where, value) {
  where.dataset.value = JSON.stringify(value);
}
