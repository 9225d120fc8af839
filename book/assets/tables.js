// Makes every table.sortable sortable by its headers, and gives one with data-filter an input
// and its chips (a div.chips whose data-for is the table's id) that filter its rows.
(() => {
  "use strict";
  const SECONDS = { s: 1, min: 60, h: 3600 };
  const NUMBER = /^[<>≤≥≈~]?\s*([-+−]?)((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(e[-+]?\d+)?(?=$|[\s%±(])\s*(\S*)/i;
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  // A cell's text, and the number that it starts with (NaN if none); "3 min" counts as 180. data-sort overrides.
  const key = (cell) => {
    const text = (cell?.dataset.sort ?? cell?.textContent ?? "").trim();
    const found = NUMBER.exec(text);
    if (!found) return { text, number: NaN };
    const [, sign, digits, exponent = "", unit] = found;
    const size = Number(digits.replaceAll(",", "") + exponent) * (SECONDS[unit] ?? 1);
    return { text, number: sign === "-" || sign === "−" ? -size : size };
  };

  // Compare two keys; what has no value in this column comes last in both directions.
  const compare = (numeric, direction) => (a, b) => {
    const lacking = (k) => (numeric ? Number.isNaN(k.number) : /^[–-]?$/.test(k.text));
    if (lacking(a) || lacking(b)) return lacking(a) - lacking(b);
    return direction * (numeric ? a.number - b.number : collator.compare(a.text, b.text));
  };

  const sort = (body, original, column, direction) => {
    const keys = new Map(original.map((row) => [row, key(row.cells[column])]));
    const numbers = original.filter((row) => !Number.isNaN(keys.get(row).number)).length;
    const order = compare(numbers > 0 && 2 * numbers >= original.length, direction);
    body.append(...(direction ? [...original].sort((a, b) => order(keys.get(a), keys.get(b))) : original));
  };

  const makeSortable = (table) => {
    const body = table.tBodies[0];
    const headers = [...(table.tHead?.rows[0]?.cells ?? [])];
    if (!body || !headers.length) return;
    const original = [...body.rows];
    headers.forEach((header, column) => {
      if (!header.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Sort: ascending, descending, as it was";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[header.getAttribute("aria-sort")];
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        const state = next === undefined ? "ascending" : next;
        if (state) header.setAttribute("aria-sort", state);
        sort(body, original, column, { ascending: 1, descending: -1 }[state] ?? 0);
      });
    });
  };

  // What is typed is one phrase; of each column one chip may be pressed, whose verdict a row must have there.
  const makeFilter = (table) => {
    const rows = [...table.tBodies[0].rows];
    const label = document.createElement("label");
    label.className = "table-filter";
    const input = document.createElement("input");
    input.type = "search";
    input.autocomplete = "off";
    const count = document.createElement("span");
    count.setAttribute("role", "status");
    label.append(`${table.dataset.filter || "Filter"} `, input, count);
    const chips = table.id ? [...document.querySelectorAll(`.chips[data-for="${CSS.escape(table.id)}"] button`)] : [];
    const pressed = (chip) => chip.getAttribute("aria-pressed") === "true";
    const plain = (text) => text.trim().replace(/\s+/g, " ").toLowerCase();
    const verdict = (cell) => plain((cell?.querySelector(".badge") ?? cell)?.textContent ?? "");
    const said = (row, place) => (place === "verdict" ? plain(row.dataset.verdict ?? "") : verdict(row.cells[place]));
    const update = () => {
      const phrase = plain(input.value);
      const wanted = chips.filter(pressed).flatMap(({ dataset }) => Object.entries(JSON.parse(dataset.where)));
      let shown = 0;
      for (const row of rows) {
        const text = plain([...row.cells].map((cell) => cell.textContent).join(" "));
        row.hidden = !text.includes(phrase) || wanted.some(([place, word]) => said(row, place) !== plain(word));
        shown += !row.hidden;
      }
      count.textContent = phrase || wanted.length ? ` ${shown} of ${rows.length}` : "";
    };
    input.addEventListener("input", update);
    for (const chip of chips) {
      chip.setAttribute("aria-pressed", "false");
      chip.addEventListener("click", () => {
        const now = !pressed(chip);
        for (const other of chips) other.setAttribute("aria-pressed", "false");
        chip.setAttribute("aria-pressed", String(now));
        update();
      });
    }
    (table.closest(".results-table") ?? table).before(label);
    const asked = () => {
      const given = new URLSearchParams(location.hash.slice(1));
      if (!given.has("find") && !given.has("verdict")) return;
      input.value = given.get("find") ?? "";
      for (const chip of chips) {
        const { verdict: word } = JSON.parse(chip.dataset.where);
        chip.setAttribute("aria-pressed", String(word !== undefined && word === given.get("verdict")));
      }
      update();
      label.scrollIntoView();
    };
    window.addEventListener("hashchange", asked);
    asked();
  };

  const all = () => {
    document.querySelectorAll("table.sortable").forEach(makeSortable);
    document.querySelectorAll("table[data-filter]").forEach((table) => table.tBodies[0] && makeFilter(table));
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
