// The page's navigation: a filter over items and targets, rankings that sort, an address for each target and item.
// Without it the menu works, too, and an item's or a ranked target's address leads there.
(() => {
  "use strict";

  const root = document.querySelector(".rp");
  const menu = root?.querySelector(".rp-menu");
  if (!menu) return;

  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children);
    return element;
  };
  const decoded = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  };

  // -- the filter -------------------------------------------------------------------------------------------------

  const box = make("input", "rp-filter");
  box.type = "search";
  box.placeholder = box.ariaLabel = "Filter items and heads";
  const count = make("span", "rp-facts");
  count.setAttribute("role", "status");
  menu.append(make("span", "rp-nowrap", box, " ", count));

  const textOf = (entry) =>
    entry.matches(".rp-item")
      ? `${entry.querySelector("summary").textContent} ${entry.querySelector("dd").textContent}`
      : entry.querySelector(".rp-target, .rp-sentence").textContent;
  let entries = null; // each with its text, from the first use on
  const folded = new Map(); // whether a part was open before the filter

  const filter = () => {
    const query = box.value.trim().toLowerCase();
    entries ??= [...root.querySelectorAll(".rp-item, .rp-ranked tr:has(.rp-target), .rp-card")].map((entry) => ({
      entry,
      text: textOf(entry).toLowerCase(),
    }));
    const holding = new Set();
    let items = 0;
    const targets = new Set();
    for (const { entry, text } of entries) {
      entry.hidden = !text.includes(query);
      if (entry.hidden) continue;
      if (entry.matches(".rp-item")) items += 1;
      if (entry.matches("tr")) targets.add(text);
      for (let part = entry.parentElement.closest("details"); part; part = part.parentElement.closest("details")) {
        holding.add(part);
      }
    }
    const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
    count.textContent = query ? `${counted(items, "item")}, ${counted(targets.size, "target")}` : "";
    for (const part of root.querySelectorAll("details:has(.rp-item, .rp-target, .rp-card)")) {
      if (!folded.has(part)) folded.set(part, part.open);
      part.open = query ? holding.has(part) : folded.get(part);
    }
    if (!query) folded.clear();
  };
  box.addEventListener("input", filter);

  // -- rankings that sort -----------------------------------------------------------------------------------------

  const valueOf = (row, column) => {
    const text = row.cells[column].textContent.replaceAll("−", "-").replaceAll(",", "").trim();
    const number = parseFloat(text.replace("< ", "")); // "< 0.001" is the smallest p-value
    return text.startsWith("<") ? number / 2 : number;
  };

  const sort = (tables, column, descending) => {
    const rows = tables.flatMap((table) => [...table.tBodies[0].rows]);
    const names = new Intl.Collator("en", { numeric: true });
    const keys = new Map(rows.map((row) => [row, valueOf(row, column)]));
    const compare = (one, other) => {
      if (column === 0) return names.compare(one.cells[0].textContent, other.cells[0].textContent);
      const [a, b] = [keys.get(one), keys.get(other)];
      if (Number.isNaN(a) || Number.isNaN(b)) return (Number.isNaN(a) - Number.isNaN(b)) * (descending ? -1 : 1);
      return a - b;
    };
    rows.sort((one, other) => (descending ? -1 : 1) * compare(one, other));
    for (const table of tables) {
      const size = table.tBodies[0].rows.length;
      table.tBodies[0].replaceChildren(...rows.splice(0, size));
      for (const [index, head] of [...table.tHead.rows[0].cells].entries()) {
        head.ariaSort = index === column ? (descending ? "descending" : "ascending") : null;
      }
    }
  };

  for (const ranked of root.querySelectorAll(".rp-ranked")) {
    const tables = [...ranked.querySelectorAll("table")].filter((table) => table.querySelector(".rp-target"));
    for (const table of tables) {
      for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
        const button = make("button", "rp-sort", ...head.childNodes);
        button.type = "button";
        button.addEventListener("click", () => sort(tables, column, head.ariaSort === "ascending"));
        head.replaceChildren(button);
      }
    }
  }

  // -- addresses --------------------------------------------------------------------------------------------------

  const put = (hash) => history.replaceState(history.state, "", hash || location.pathname + location.search);

  const follow = () => {
    const hash = location.hash.slice(1);
    const item = document.getElementById(hash);
    if (item?.matches(".rp-item")) {
      for (let part = item; part; part = part.parentElement.closest("details")) part.open = true;
      item.scrollIntoView();
    } else if (hash.includes("/")) {
      root.dispatchEvent(new CustomEvent("rp-open", { detail: hash.split("/").map(decoded) }));
    }
  };

  root.addEventListener("rp-opened", ({ detail }) => put(`#${detail.map(encodeURIComponent).join("/")}`));
  root.addEventListener("close", () => put(""), true); // the dialog's; it does not bubble
  window.addEventListener("hashchange", follow);
  follow();
})();
