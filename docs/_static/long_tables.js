// A box over each long table that hides the rows without the typed words. Without script the whole table is there.
document.addEventListener("DOMContentLoaded", () => {
  const LONG = 40;
  for (const table of document.querySelectorAll("article table")) {
    const rows = [...table.querySelectorAll("tbody tr")];
    if (rows.length < LONG) continue;
    const box = document.createElement("div");
    box.className = "long-table";
    const label = document.createElement("label");
    label.textContent = "Filter rows: ";
    const input = document.createElement("input");
    input.type = "search";
    const count = document.createElement("output");
    label.append(input);
    const show = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = ` ${shown} of ${rows.length} rows`;
    };
    input.addEventListener("input", show);
    const outer = table.closest(".table-wrapper") || table;
    outer.before(label, count);
    outer.replaceWith(box);
    box.append(outer);
    box.tabIndex = 0;
    show();
  }
});
