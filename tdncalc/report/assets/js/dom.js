// Elements of the page. Text is only ever set as text, never parsed as HTML.

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "text") element.textContent = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function card(title, attributes, ...children) {
  const heading = title ? make("h3", { text: title }) : null;
  const wanted = { ...attributes, class: `card ${(attributes && attributes.class) || ""}` };
  return make("section", wanted, heading, ...children);
}

/** A select with a label before it; options are [value, text]. */
function choice(label, options, value, onchange) {
  const select = make("select", { onchange: () => onchange(select.value) });
  for (const [key, text] of options) select.append(make("option", { value: key, text }));
  select.value = value;
  return make("label", { class: "choice" }, make("span", { text: label }), select);
}

/** C9H8O4 with its figures lowered. */
function formulaText(formula) {
  const span = make("span", { class: "formula" });
  for (const part of formula.split(/(\d+)/)) {
    if (part) span.append(/\d/.test(part) ? make("sub", { text: part }) : part);
  }
  return span;
}

/** A number as text, with a real minus sign. */
function figure(value, digits) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const text = value.toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
}

/** A number to about four digits, with enough behind the point to tell values `step` apart. */
function shortFigure(value, step) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value !== 0 && Math.abs(value) < 1e-3 && (!step || step < 1e-4)) {
    return value.toExponential(1).replace(/-/g, "−");
  }
  const digits = step ? Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)) : 3 - Math.floor(Math.log10(Math.abs(value) || 1));
  return figure(value, Math.min(8, Math.max(0, digits)));
}

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
