"use strict";
(() => {
  const MISSING = /^(n\/a|none|)$/;
  const LEADING_NUMBER = /^[[(<>≈~±]?\s*[−+-]?\d/;
  const NUMBER = /[−+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+−-]?\d+)?/i;
  const FILTER_FROM = 8;

  const make = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  const numberIn = (text) => {
    const found = NUMBER.exec(text);
    return found ? Number(found[0].replaceAll(",", "").replaceAll("−", "-")) : NaN;
  };

  const bound = (text) => (text.startsWith("<") ? -1 : text.startsWith(">") ? 1 : 0);

  const compareNumbers = (a, b) => numberIn(a) - numberIn(b) || bound(a) - bound(b) || compareTexts(a, b);

  const compareTexts = (a, b) => a.localeCompare(b, "en", { numeric: true });

  // Sorting: each click on a head goes on from ascending to descending to the order of the report.
  const makeSortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    const bodies = [...table.tBodies].map((body) => ({
      body,
      rows: [...body.rows].filter((row) => !row.classList.contains("group")),
    }));
    const text = (row, column) => row.cells[column].textContent.trim();
    const sort = (column, direction) => {
      const known = bodies.flatMap(({ rows }) => rows.map((row) => text(row, column)));
      const present = known.filter((one) => !MISSING.test(one));
      const numeric =
        heads[column].classList.contains("r")
          ? present.some((one) => NUMBER.test(one))
          : present.length > 0 && present.every((one) => LEADING_NUMBER.test(one));
      const absent = (one) => MISSING.test(one) || (numeric && !NUMBER.test(one));
      const compare = numeric ? compareNumbers : compareTexts;
      for (const { body, rows } of bodies) {
        const ordered = direction === 0 ? rows : [...rows].sort((one, other) => {
          const [a, b] = [text(one, column), text(other, column)];
          return absent(a) - absent(b) || (absent(a) ? 0 : direction * compare(a, b));
        });
        body.append(...ordered);
      }
    };
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: -1, descending: 0 }[head.getAttribute("aria-sort")] ?? 1;
        for (const one of heads) one.removeAttribute("aria-sort");
        if (next !== 0) head.setAttribute("aria-sort", next === 1 ? "ascending" : "descending");
        sort(column, next);
      });
    });
  };

  // Filtering: a row stays when it, with the heading of its group, holds every word.
  const makeFilterable = (table, label) => {
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => !row.matches(".group"));
    if (rows.length < FILTER_FROM) return;
    const count = make("output");
    const box = make("input", { type: "search", placeholder: "Filter rows", autocomplete: "off", spellcheck: false });
    box.setAttribute("aria-label", `Filter ${label}`);
    const filter = () => {
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const body of table.tBodies) {
        const heading = body.querySelector(".group");
        let left = 0;
        for (const row of body.rows) {
          if (row === heading) continue;
          const all = `${heading ? heading.textContent : ""} ${row.textContent}`.toLowerCase();
          row.hidden = !words.every((word) => all.includes(word));
          left += row.hidden ? 0 : 1;
        }
        if (heading) heading.hidden = left === 0;
        shown += left;
      }
      count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
    };
    box.addEventListener("input", filter);
    table.closest(".scroll").before(make("p", { className: "filter" }, box, count));
  };

  // The trials behind a cell.
  const panelTable = (panel) => {
    const kinds = [...panel.align];
    const head = panel.head.map((name, k) => make("th", { scope: "col", className: kinds[k], textContent: name }));
    const rows = panel.rows.map((row) =>
      make("tr", {}, ...row.map((text, k) => make("td", { className: kinds[k], textContent: text }))),
    );
    return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  };

  const makePanel = () => {
    const title = make("h2", { id: "panel-title" });
    const content = make("div");
    const close = make("button", { type: "button", className: "close", textContent: "Close" });
    const dialog = make("dialog", {}, make("div", { className: "panel" }, close, title, content));
    dialog.setAttribute("aria-labelledby", title.id);
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
    document.body.append(dialog);
    return (cell, panel) => {
      title.textContent = `Trials of ${cell}`;
      const table = panelTable(panel);
      makeSortable(table);
      const scroll = make("div", { className: "scroll", tabIndex: 0 }, table);
      scroll.setAttribute("role", "region");
      scroll.setAttribute("aria-label", "Trials");
      const facts = panel.facts.flatMap(([term, text]) => [
        make("dt", { textContent: term }),
        make("dd", { textContent: text }),
      ]);
      content.replaceChildren(
        make("dl", {}, ...facts),
        scroll,
        make("p", { className: "note", textContent: "To follow or repeat them, with RUN the run directory:" }),
        make("pre", { textContent: panel.commands.join("\n") }),
      );
      dialog.showModal();
    };
  };

  const linkCells = () => {
    const data = document.getElementById("trials");
    if (!data) return;
    const panels = JSON.parse(data.textContent);
    const open = makePanel();
    let first = null;
    for (const place of document.querySelectorAll("[data-cell]")) {
      const cell = place.dataset.cell;
      if (!Object.hasOwn(panels, cell)) continue;
      const button = make("button", { type: "button", className: "cell", title: `Trials of ${cell}` });
      button.append(...place.childNodes);
      place.append(button);
      button.addEventListener("click", () => open(cell, panels[cell]));
      first ??= place.closest(".scroll");
    }
    const hint = make("p", { className: "note hint", textContent: "A click on a shaded value shows its trials." });
    if (first) first.after(hint);
  };

  // The appendix: closed until it is asked for, by a click, by a link into it, or by printing.
  const folds = [...document.querySelectorAll("details")];

  const openLinked = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const fold = target && target.querySelector("details");
    if (!fold || fold.open) return;
    fold.open = true;
    target.scrollIntoView();
  };

  const makeFolds = () => {
    if (folds.length === 0) return;
    const button = make("button", { type: "button", className: "unfold", textContent: "Open the whole appendix" });
    button.addEventListener("click", () => {
      const open = folds.some((fold) => !fold.open);
      for (const fold of folds) fold.open = open;
      button.textContent = open ? "Close the appendix" : "Open the whole appendix";
    });
    folds[0].before(button);
    window.addEventListener("hashchange", openLinked);
    window.addEventListener("beforeprint", () => folds.forEach((fold) => (fold.open = true)));
    openLinked();
  };

  linkCells();
  makeFolds();
  for (const scroll of document.querySelectorAll("figure > .scroll")) {
    const table = scroll.querySelector("table");
    if (!table) continue;
    makeSortable(table);
    makeFilterable(table, scroll.getAttribute("aria-label"));
  }
})();
