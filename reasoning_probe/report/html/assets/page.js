// The page's script: the maps answer to pointer and keyboard, and a head shows the items that it flipped.
// Everything stands in the page without it, too; it reads its data from #rp-data and only ever writes text.
(() => {
  "use strict";

  const holder = document.getElementById("rp-data");
  const root = document.querySelector(".rp");
  if (!holder || !root) return;
  const { kinds, texts, maps } = JSON.parse(holder.textContent);
  const MOST_FLIPS = 8; // lines of changed answers that a dialog shows at once

  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children);
    return element;
  };
  const targetOf = (map, target) => (Object.hasOwn(maps[map].targets, target) ? maps[map].targets[target] : null);

  // -- the dialog: a target's flipped items -----------------------------------------------------------------------

  const dialog = make("dialog", "rp-dialog");
  const heading = make("h2");
  heading.id = "rp-dialog-title";
  const close = make("button", "rp-close", "Close");
  close.type = "button";
  close.addEventListener("click", () => dialog.close());
  const content = make("div");
  dialog.setAttribute("aria-labelledby", heading.id);
  dialog.append(make("div", "rp-dialog-head", heading, close), content);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // a click beside it
  });
  root.append(dialog);

  const answer = (title, said, parts) => {
    const [before, differs, after] = parts.map((part) => texts[part]);
    const shown = make("pre", "", before);
    shown.dir = "auto";
    if (differs) shown.append(make("mark", "", differs));
    shown.append(after);
    if (!shown.textContent) shown.append(make("em", "", "nothing"));
    return make("div", "", make("p", "rp-facts", `${title}: `, make("bdi", "", texts[said])), shown);
  };

  const flipped = (target, [kind, question, expected, was, is, wasParts, isParts]) =>
    make(
      "details",
      "rp-flip",
      make(
        "summary",
        "",
        make("strong", ["rp-wrong", "rp-right", ""][kind], kinds[kind]),
        " ",
        make("bdi", "", texts[question]),
        " ",
        make("span", "rp-facts", make("bdi", "", texts[was]), " → ", make("bdi", "", texts[is])),
      ),
      make("h3", "", make("bdi", "", texts[question])),
      make("p", "rp-facts", "expected ", make("bdi", "", texts[expected])),
      make("div", "rp-sides", answer("nothing off", was, wasParts), answer(`${target} off`, is, isParts)),
    );

  // A line for each flip; those that would make the dialog longer than two screens open together.
  const flips = (target, { flips: listed, more }) => {
    const rows = listed.map((flip) => flipped(target, flip));
    const rest = rows.slice(MOST_FLIPS);
    const parts = rows.slice(0, MOST_FLIPS);
    if (rest.length) parts.push(make("details", "rp-rest", make("summary", "", `${rest.length} more changed answers`), ...rest));
    if (more) parts.push(make("p", "rp-note", `${more} more changed answers are in outcomes.jsonl.`));
    if (!parts.length) parts.push(make("p", "", "No answer changed."));
    return parts;
  };

  // The card of a head stands in the page, where no script is needed to read it; the dialog shows a copy.
  const cardOf = (map, target) => {
    const cards = [...root.querySelectorAll(".rp-card")];
    const card = cards.find(({ dataset }) => dataset.map === String(map) && dataset.target === target);
    if (!card) return { sentence: [], body: [] };
    const sentence = card.querySelector(".rp-sentence").textContent;
    return {
      sentence: [make("p", "rp-lead", make("bdi", "", sentence))],
      body: [card.querySelector(".rp-card-body").cloneNode(true)],
    };
  };

  const open = (map, target) => {
    const found = targetOf(map, target);
    if (!found) return;
    heading.textContent = `${target} off, ${maps[map].dataset}, ${maps[map].ablation} ablation`;
    const { sentence, body } = cardOf(map, target);
    const effect = make("ul", "rp-effect", ...found.effect.map((line) => make("li", "", line)));
    content.replaceChildren(...sentence, effect, ...body, ...flips(target, found));
    dialog.showModal();
    const first = maps.findIndex(({ dataset, targets }) => dataset === maps[map].dataset && Object.hasOwn(targets, target));
    const names = [maps[map].dataset, target, ...(first === map ? [] : [maps[map].ablation])];
    root.dispatchEvent(new CustomEvent("rp-opened", { detail: names })); // for the page's address
    dialog.scrollTop = 0;
  };

  root.addEventListener("rp-open", ({ detail: [dataset, target, ablation] }) => {
    const map = maps.findIndex((each) => each.dataset === dataset && each.ablation === (ablation ?? each.ablation));
    if (map >= 0) open(map, target);
  });

  // -- the tooltip ------------------------------------------------------------------------------------------------

  const tip = make("div", "rp-tip");
  tip.setAttribute("role", "status");
  tip.hidden = true;
  root.append(tip);

  const hideTip = () => {
    tip.hidden = true;
  };

  const showTip = (map, target, box) => {
    const found = targetOf(map, target);
    const lines = found ? found.effect : ["not measured"];
    tip.replaceChildren(make("strong", "", target), ...lines.map((line) => make("span", "", line)));
    tip.hidden = false;
    const [wide, high] = [tip.offsetWidth, tip.offsetHeight];
    const inside = (start, size, room) => Math.min(Math.max(4, start), room - size - 4);
    const middle = inside(box.left + box.width / 2 - wide / 2, wide, innerWidth);
    const beside = inside(box.top + box.height / 2 - high / 2, high, innerHeight);
    const places = [
      [middle, box.top - high - 6],
      [middle, box.bottom + 6],
      [box.right + 6, beside],
      [box.left - wide - 6, beside],
    ]; // none of these hides the cell
    const fits = ([x, y]) => x >= 4 && y >= 4 && x + wide <= innerWidth - 4 && y + high <= innerHeight - 4;
    const [x, y] = places.find(fits) ?? places[1];
    tip.style.left = `${x}px`;
    tip.style.top = `${y}px`;
  };

  // -- the maps ---------------------------------------------------------------------------------------------------

  // One place to press Tab, arrow keys from cell to cell, Enter to open: a map of 1,024 heads is not 1,024 stops.
  const bring = (figure) => {
    const svg = figure.querySelector("svg[data-grid]");
    if (!svg) return;
    const map = Number(figure.dataset.map);
    const [left, top, wide, high] = svg.dataset.grid.split(" ").map(Number);
    const layers = svg.dataset.layers.split(" ");
    const columns = svg.dataset.columns.split(" "); // H0, H1, ... KV0, ... MLP
    const cell = { width: wide / columns.length, height: high / layers.length };
    const cursor = document.createElementNS(svg.namespaceURI, "rect");
    for (const side of ["width", "height"]) cursor.setAttribute(side, cell[side]);
    cursor.setAttribute("class", "rp-cursor");
    cursor.style.display = "none";
    svg.append(cursor);
    let at = [0, 0]; // layer, column

    const target = () => `L${layers[at[0]]}${columns[at[1]]}`;
    const point = () => {
      cursor.setAttribute("x", left + at[1] * cell.width);
      cursor.setAttribute("y", top + at[0] * cell.height);
      cursor.style.display = "";
      showTip(map, target(), cursor.getBoundingClientRect());
    };
    const leave = () => {
      cursor.style.display = "none";
      hideTip();
    };
    const under = (event) => {
      const to = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const found = [Math.floor((to.y - top) / cell.height), Math.floor((to.x - left) / cell.width)];
      return found[0] >= 0 && found[0] < layers.length && found[1] >= 0 && found[1] < columns.length ? found : null;
    };

    svg.setAttribute("tabindex", "0");
    svg.setAttribute("role", "application");
    svg.setAttribute("aria-roledescription", "map of heads: arrow keys choose one, Enter shows what it flipped");
    svg.addEventListener("pointermove", (event) => {
      const found = under(event);
      svg.style.cursor = found ? "pointer" : "";
      if (!found) return leave();
      at = found;
      point();
    });
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("click", (event) => {
      const found = under(event);
      if (!found) return;
      at = found;
      leave();
      open(map, target());
    });
    svg.addEventListener("focus", () => {
      if (svg.matches(":focus-visible")) point();
    });
    svg.addEventListener("blur", leave);
    svg.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const ends = { Home: [at[0], 0], End: [at[0], columns.length - 1] };
      if (event.key === "Enter" || event.key === " ") {
        leave();
        open(map, target());
      } else if (event.key === "Escape") {
        leave();
      } else if (Object.hasOwn(steps, event.key)) {
        const [down, right] = steps[event.key];
        at = [
          Math.min(layers.length - 1, Math.max(0, at[0] + down)),
          Math.min(columns.length - 1, Math.max(0, at[1] + right)),
        ];
        point();
      } else if (Object.hasOwn(ends, event.key)) {
        at = ends[event.key];
        point();
      } else {
        return;
      }
      event.preventDefault();
    });
  };
  for (const figure of root.querySelectorAll("figure[data-map]")) bring(figure);

  // -- the ranking ------------------------------------------------------------------------------------------------

  for (const place of root.querySelectorAll(".rp-target")) {
    const { map, target } = place.dataset;
    const button = make("button", "rp-open", ...place.childNodes);
    button.type = "button";
    button.title = "Show the items that it flipped";
    button.addEventListener("click", () => open(Number(map), target));
    place.replaceChildren(button);
  }

  // -- pytest-html's table, which answers to the pointer alone ------------------------------------------------------

  document.addEventListener("keydown", (event) => {
    const place = event.target.closest?.("#results-table .col-result, #results-table .sortable, #environment-header");
    if (!place || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    const row = place.parentElement.dataset.id;
    place.click();
    if (row) document.querySelector(`#results-table [data-id="${CSS.escape(row)}"] .col-result`)?.focus();
    else place.focus();
  });

  root.dataset.ready = "";
})();
