(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  root.classList.add("js");

  // Colour scheme: the system's unless the reader chose one. Storage may be forbidden for files.
  const theme = document.getElementById("theme");
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const store = (value) => { try { return value ? localStorage.setItem("assay-theme", value) : localStorage.getItem("assay-theme"); } catch { return null; } };
  const paint = () => { theme.textContent = dark() ? "Light colours" : "Dark colours"; };
  if (store()) root.dataset.theme = store();
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; store(root.dataset.theme); paint(); });
  paint();

  // Pages: the one that holds the address's anchor is open.
  const pages = all(".page"), title = document.title;
  const show = () => {
    let id = location.hash.slice(1);
    try { id = decodeURIComponent(id); } catch { /* not an address of ours */ }
    const target = id && document.getElementById(id);
    const page = (target && target.closest(".page")) || pages[0];
    for (const one of pages) one.classList.toggle("open", one === page);
    for (const link of all(".side nav a")) {
      const at = link.getAttribute("href");
      if (at === location.pathname || (page && at === "#" + (page.dataset.top || page.id))) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    }
    const name = page && page.querySelector("h1");
    if (name) document.title = `${name.textContent} · ${title}`;
    if (target && target !== page) target.scrollIntoView(); else scrollTo(0, 0);
  };
  addEventListener("hashchange", show);
  show();

  // Sorting: stable, numbers by value, blanks last in both directions.
  const key = (row, index) => {
    const cell = row.cells[index];
    if (!cell) return null;
    if (cell.dataset.v !== undefined) return cell.dataset.v === "" ? null : Number(cell.dataset.v);
    const text = cell.textContent.trim(), number = Number(text.replace("−", "-").replaceAll(",", ""));
    return text === "" || text === "–" ? null : Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  for (const table of all("table[data-where]")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((head, index) => {
      if (head.classList.contains("range")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        unpack(table);
        close(table);
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const keyed = [...body.rows].map((row) => [key(row, index), row]);
        keyed.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : compare(a, b) * (down ? -1 : 1)));
        body.append(...keyed.map(([, row]) => row));
      });
    });
  }

  // Long tables of large reports: the rows that are not in the page yet.
  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const json = (node) => node ? JSON.parse(node.textContent) : null;
  const kept = {};
  const shared = (name, number) => number === undefined ? "" : (kept[name] ??= json(document.getElementById(name)))[number];
  const unpack = (table) => {
    const rest = document.querySelector(`script.rest[data-for="${CSS.escape(table.id)}"]`);
    if (!rest) return;
    const { metrics, rows } = json(rest);
    const heads = [...table.tHead.rows[0].cells], shape = heads.filter((head) => !head.classList.contains("range"));
    const made = document.createDocumentFragment();
    for (const [best, condition, bar, cells] of rows) {
      const row = element("tr", "", best ? "best" : "");
      row.dataset.w = condition;
      cells.forEach((cell, index) => {
        const own = element("td", "", shape[index].className);
        if (Array.isArray(cell) && cell[2]) {
          const link = element("a", cell[0]);
          link.href = cell[2];
          own.append(link);
        } else if (Array.isArray(cell)) {
          const button = element("button", cell[0]);
          button.type = "button";
          button.dataset.id = cell[1];
          button.dataset.exact = metrics[index];
          own.append(button);
        } else own.textContent = cell;
        row.append(own);
        const next = heads[heads.indexOf(shape[index]) + 1];
        if (next && next.classList.contains("range")) {
          const place = element("td", "", "range");
          if (bar) {
            const ci = element("span", "", "ci");
            ["--l", "--w", "--m"].forEach((name, at) => ci.style.setProperty(name, bar[at] + "%"));
            ci.append(element("i"), element("b"));
            place.append(ci);
          }
          row.append(place);
        }
      });
      made.append(row);
    }
    table.tBodies[0].append(made);
    rest.remove();
    const button = document.querySelector(`button.all[data-table="${CSS.escape(table.id)}"]`);
    if (button) button.remove();
  };
  for (const button of all("button.all")) {
    button.hidden = false;
    button.addEventListener("click", () => unpack(document.getElementById(button.dataset.table)));
  }

  // Columns that a page of usual width has no room for.
  for (const button of all("button.columns")) {
    const table = document.getElementById(button.dataset.table), words = button.textContent;
    button.hidden = false;
    button.addEventListener("click", () => {
      const wide = table.classList.toggle("wide");
      button.setAttribute("aria-pressed", wide);
      button.textContent = wide ? "Fewer columns" : words;
    });
  }

  // Filtering: every word must occur in the row.
  for (const box of all("input.filter")) {
    const table = document.getElementById(box.dataset.table);
    const count = box.parentElement.querySelector(".count");
    box.hidden = false;
    box.addEventListener("input", () => {
      unpack(table);
      close(table);
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      const rows = [...table.tBodies[0].rows];
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        left += !row.hidden;
      }
      count.textContent = words.length ? `${left} of ${rows.length} rows` : "";
    });
  }

  // Where a number comes from: the same SQL as reports.provenance.select.
  const close = (table) => {
    for (const row of all("tr.why", table)) row.remove();
    for (const button of all("td button[aria-expanded=true]", table)) button.setAttribute("aria-expanded", "false");
  };
  const literal = (text) => "'" + text.replaceAll("'", "''") + "'";
  document.addEventListener("click", (event) => {
    const button = event.target.closest("td button[data-id]");
    if (!button) return;
    const row = button.closest("tr"), table = button.closest("table");
    const again = button.getAttribute("aria-expanded") === "true";
    close(table);
    if (again) return;
    button.setAttribute("aria-expanded", "true");
    const exact = (text) => text ? JSON.parse('"' + text + '"') : "";
    const metric = button.dataset.exact ?? exact(button.dataset.metric);
    const where = [exact(table.dataset.where), shared("conditions", row.dataset.w), "metric = " + literal(metric)].filter(Boolean).join(" AND ");
    const sql = `SELECT seed, value, kind, trial FROM scores WHERE ${where} ORDER BY seed`;
    const trials = shared("trials", row.dataset.t).split(" ").filter(Boolean);
    const opened = element("tr", "", "why"), cell = element("td");
    cell.colSpan = row.cells.length;
    const head = element("p", `assay why ${button.dataset.id} ${exact(table.dataset.options)}`.trim());
    const copy = element("button", "Copy SQL", "copy");
    copy.type = "button";
    copy.addEventListener("click", () => navigator.clipboard && navigator.clipboard.writeText(sql).then(() => { copy.textContent = "Copied"; }));
    head.append(copy);
    if (document.querySelector('.side a[href="/sql"]')) { // live: the server can run it
      const run = element("a", "Run it", "copy");
      run.href = "/sql?q=" + encodeURIComponent(sql);
      head.append(run);
    }
    const pre = element("pre");
    pre.append(element("code", sql));
    cell.append(head, pre, element("p", trials.length ? `${trials.length} trials: ${trials.join(" ")}` : "The SQL lists the trials.", "keys"));
    opened.append(cell);
    row.after(opened);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const button of all("td button[aria-expanded=true]")) { close(button.closest("table")); button.focus(); }
  });

  // Plots: pointing at a name or a line brings it forward.
  for (const plot of all("svg.plot")) {
    const focus = (name) => {
      plot.classList.toggle("focus", name !== null);
      for (const part of all("[data-series]", plot)) part.classList.toggle("on", part.dataset.series === name);
    };
    for (const part of all("[data-series]:not(.quiet):not(.neutral)", plot)) {
      part.addEventListener("pointerenter", () => focus(part.dataset.series));
      part.addEventListener("pointerleave", () => focus(null));
    }
  }
})();
