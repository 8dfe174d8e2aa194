// What every terminal of ours has in common: xterm.js within our policy, and how it looks.

const FONT = 'ui-monospace, "SFMono-Regular", "DejaVu Sans Mono", Menlo, Consolas, monospace';

export const MARKS = {
  decorations: { matchOverviewRuler: "#e3b341", activeMatchColorOverviewRuler: "#f47067", matchBackground: "#5c4813", activeMatchBackground: "#8a6d1d" },
};

/** The options of a terminal inside this element of ours. */
export function looks(root) {
  const style = getComputedStyle(root);
  return {
    allowProposedApi: true,
    fontFamily: FONT,
    fontSize: 14,
    screenReaderMode: false,
    theme: { background: "#07090c", foreground: style.getPropertyValue("--ink").trim(), cursor: style.getPropertyValue("--accent").trim() },
  };
}

/**
 * The terminal writes its styles into the page, which our policy forbids, be they empty. Sheets and styles made by a script
 * are ours, so what it would write goes there.
 */
export function withoutInlineStyles() {
  const create = document.createElement.bind(document);
  document.createElement = (name, ...rest) => {
    if (name !== "style") return create(name, ...rest);
    const sheet = new CSSStyleSheet();
    document.adoptedStyleSheets.push(sheet);
    return Object.defineProperty(create("template"), "textContent", { set: (text) => sheet.replaceSync(text) });
  };
  HTMLSpanElement.prototype.setAttribute = function (name, value) {
    if (name === "style") this.style.cssText = value;
    else Element.prototype.setAttribute.call(this, name, value);
  };
}
