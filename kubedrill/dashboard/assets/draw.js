"use strict";
// Elements are made here and nowhere else. What comes from a cluster becomes text, never markup.

export const byId = (id) => document.getElementById(id);

export const make = (tag, { text, kind, title, at, of } = {}, ...children) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  if (title) element.title = title;
  // A time that is told as an age, anew each second; `of` is how old it may get.
  if (at !== undefined) Object.assign(element.dataset, { at, ...(of ? { of } : {}) });
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
};

// Elements stay where they are as long as what they show does, so that what is selected or scrolled to is left alone.
export const fill = (parent, items, keyOf, draw) => {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const key = String(keyOf(item));
    const drawn = draw(item);
    const mark = drawn.outerHTML;
    const before = old.get(key);
    if (before && before.mark === mark) return before;
    drawn.dataset.key = key;
    drawn.mark = mark;
    return drawn;
  });
  wanted.forEach((element, place) => {
    if (parent.children[place] !== element) parent.insertBefore(element, parent.children[place] ?? null);
  });
  while (parent.children.length > wanted.length) parent.lastElementChild.remove();
  tick(parent);
};

export const row = (...cells) => make("tr", {}, ...cells);

// A long key may break at its own marks, and need not anywhere else.
export const breakable = (text) => text.split(/(?<=[/=])|(?=:)/).flatMap((part) => [part, make("wbr")]);

export const age = (seconds) => {
  const past = Math.max(0, Math.round(seconds));
  if (past < 120) return `${past} s`;
  if (past < 7200) return `${Math.floor(past / 60)} min`;
  return past < 172800 ? `${Math.floor(past / 3600)} h` : `${Math.floor(past / 86400)} d`;
};

export const clock = (at) => new Date(at * 1000).toTimeString().slice(0, 8);

export const seconds = (value) => (value < 10 ? value.toFixed(1) : value.toFixed(0)) + " s";

export const tick = (within = document) => {
  const now = Date.now() / 1000;
  for (const element of within.querySelectorAll("[data-at]")) {
    const past = now - Number(element.dataset.at);
    element.textContent = age(past);
    element.classList.toggle("wrong", "of" in element.dataset && past > Number(element.dataset.of));
  }
};

// Runs of the same letter become one element each.
export const strip = (letters, words) => {
  const kinds = { o: "is-ok", f: "is-failed", u: "is-unknown", " ": "" };
  const runs = letters.match(/(.)\1*/g) ?? [];
  const bar = make("div", { kind: "strip" });
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", words);
  for (const run of runs) {
    const part = make("span", { kind: kinds[run[0]] });
    part.style.flexGrow = run.length;
    bar.append(part);
  }
  return bar;
};
