"use strict";
(() => {
  const { figure, narrow } = JSON.parse(document.getElementById("timeline-data").textContent);
  const plot = document.getElementById("timeline");
  const small = matchMedia("(max-width: 720px)");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const finger = matchMedia("(pointer: coarse)");
  const whole = [...figure.layout.xaxis.range];

  // '$failed' under a key such as 'fgcolor' is the style sheet's --failed; a pod's name is never under such a key.
  const coloured = (value, key, style) => {
    if (Array.isArray(value)) return value.map((item) => coloured(item, key, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, coloured(item, name, style)]));
    }
    const named = typeof value === "string" && value.startsWith("$") && /color$/.test(key);
    return named ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
  };

  const draw = () => {
    const { data, layout } = coloured(figure, "", getComputedStyle(document.documentElement));
    if (plot.layout) layout.xaxis.range = [...plot.layout.xaxis.range];
    if (small.matches) layout.annotations.forEach((annotation, number) => { annotation.text = narrow[number]; });
    if (small.matches) layout.xaxis.nticks = 5;
    // A finger that moves over the timeline scrolls the page; the buttons zoom.
    layout.dragmode = finger.matches ? false : "zoom";
    return Plotly.react(plot, data, layout, {
      responsive: true, displaylogo: false, displayModeBar: false, doubleClick: "reset", showTips: false,
    });
  };

  const show = (from, to) => {
    const width = Math.min(to - from, whole[1] - whole[0]);
    const start = Math.min(Math.max(from, whole[0]), whole[1] - width);
    Plotly.relayout(plot, { "xaxis.range": [start, start + width] });
  };

  for (const button of document.querySelectorAll(".tools button")) {
    button.addEventListener("click", () => {
      const [from, to] = plot.layout.xaxis.range;
      const { view, zoom, move } = button.dataset;
      if (view === "whole") show(...whole);
      else if (view) show(...JSON.parse(view));
      else if (zoom) show((from + to) / 2 - ((to - from) / 2) * zoom, (from + to) / 2 + ((to - from) / 2) * zoom);
      else show(from + (to - from) * move, to + (to - from) * move);
    });
  }
  for (const query of [small, dark, finger]) query.addEventListener("change", draw);
  draw().then(() => { plot.dataset.drawn = "yes"; });
})();
