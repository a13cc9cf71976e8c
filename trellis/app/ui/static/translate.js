// Puts the page into the first of the browser's languages that there is a table for; the English one has little to do.
// Texts are matched whole, so file names and what people type are left alone.
const ATTRIBUTES = ["placeholder", "aria-label", "title", "alt"];
const chosen = (navigator.languages ?? [navigator.language])
  .map((tag) => tag.toLowerCase().split("-")[0])
  .find((tag) => tag in TABLES);
const table = TABLES[chosen];
if (!table) return;
document.documentElement.lang = chosen;

const patterns = Object.entries(table)
  .filter(([english]) => english.includes("{0}"))
  .map(([english, translated]) => {
    const parts = english.split(/\{\d\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    return [new RegExp(`^${parts.join("(.+?)")}$`, "s"), translated];
  });

function translated(text) {
  const plain = text.trim();
  if (!plain || plain.length > 400) return null;
  const known = table[plain];
  if (known !== undefined) return text.replace(plain, () => known);
  for (const [pattern, result] of patterns) {
    const found = pattern.exec(plain);
    if (found) return text.replace(plain, () => result.replace(/\{(\d)\}/g, (_, index) => translatedPart(found[+index + 1])));
  }
  return null;
}

function translatedPart(text) {
  return table[text] ?? text;
}

function translateText(node) {
  if (node.parentElement?.closest("script, style, textarea, [contenteditable]")) return;
  const result = translated(node.data);
  if (result !== null && result !== node.data) node.data = result;
}

function translateAttributes(element) {
  for (const name of ATTRIBUTES) {
    const value = element.getAttribute(name);
    const result = value && translated(value);
    if (result && result !== value) element.setAttribute(name, result);
  }
}

// What a closed list shows is the value of a field that nobody types into: it is shown translated, and read as it is.
const field = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");

function translateChosen(input) {
  if (Object.hasOwn(input, "value")) return;
  let english = field.get.call(input);
  Object.defineProperty(input, "value", {
    configurable: true,
    get: () => english,
    set(text) {
      english = text;
      field.set.call(input, translated(text) ?? text);
    },
  });
  input.value = english;
}

function translateElement(element) {
  translateAttributes(element);
  if (element.matches("input[role=combobox][readonly]")) translateChosen(element);
}

function translateTree(root) {
  if (root.nodeType === Node.TEXT_NODE) return translateText(root);
  if (root.nodeType !== Node.ELEMENT_NODE) return;
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  for (let node = root; node; node = walker.nextNode()) {
    if (node.nodeType === Node.TEXT_NODE) translateText(node);
    else translateElement(node);
  }
}

new MutationObserver((changes) => {
  for (const change of changes) {
    if (change.type === "characterData") translateText(change.target);
    else if (change.type === "attributes") translateAttributes(change.target);
    else change.addedNodes.forEach(translateTree);
  }
}).observe(document.documentElement, {
  subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ATTRIBUTES,
});
document.addEventListener("DOMContentLoaded", () => translateTree(document.body));
