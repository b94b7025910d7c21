"use strict";
(() => {
  const tip = document.getElementById("tip");
  const show = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const left = Math.min(x + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = Math.max(8, left) + window.scrollX + "px";
    tip.style.top = (y + 16 + tip.offsetHeight > window.innerHeight ? y - tip.offsetHeight - 10 : y + 16) + window.scrollY + "px";
  };
  const hide = () => { tip.hidden = true; };

  for (const mark of document.querySelectorAll(".mark")) {
    const at = () => { const r = mark.getBoundingClientRect(); show(mark.dataset.tip, r.right - r.width / 2, r.top + r.height / 2); };
    mark.addEventListener("pointerenter", at);
    mark.addEventListener("focus", at);
    mark.addEventListener("pointerleave", hide);
    mark.addEventListener("blur", hide);
  }

  for (const svg of document.querySelectorAll(".curves svg")) {
    const cursor = svg.querySelector(".cursor");
    const lines = [...svg.querySelectorAll(".line")].map((line) => ({
      name: line.dataset.name,
      points: line.dataset.points.split(";").filter(Boolean).map((p) => p.split(",")),
    }));
    const steps = lines.flatMap((line) => line.points);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      const near = steps.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a));
      cursor.setAttribute("x1", near[0]);
      cursor.setAttribute("x2", near[0]);
      cursor.style.visibility = "visible";
      const rows = lines.map((line) => [line.name, line.points.find((p) => p[1] === near[1])]).filter((row) => row[1]);
      show([svg.dataset.x + " " + near[1], ...rows.map(([name, point]) => name + "  " + point[2])].join("\n"), event.clientX, event.clientY);
    });
    svg.addEventListener("pointerleave", () => { cursor.style.visibility = "hidden"; hide(); });
  }

  // What a cell says, without the links and remarks that it holds too.
  const said = (cell) => (cell ? cell.dataset.v ?? cell.textContent.trim() : "");

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    const groups = [];
    for (const row of body.rows) {
      if (row.classList.contains("remark")) groups[groups.length - 1].push(row);
      else groups.push([row]);
    }
    const sort = (head, index) => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (group) => {
        const cell = group[0].cells[index];
        if (head.dataset.type === "text") return said(cell);
        const value = cell && cell.dataset.v;
        return value ? Number(value) : NaN;
      };
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (typeof x === "string") return x.localeCompare(y) * (down ? -1 : 1);
        if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
        return (x - y) * (down ? -1 : 1);
      };
      groups.sort(order).forEach((group) => body.append(...group));
    };
    heads.forEach((head, index) => {
      head.tabIndex = 0;
      head.addEventListener("click", () => sort(head, index));
      head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(head, index); });
    });
  }

  for (const bar of document.querySelectorAll(".filters")) {
    const rows = [...document.getElementById(bar.dataset.table).tBodies[0].rows];
    const inputs = [...bar.querySelectorAll("[data-filter]")];
    const count = bar.querySelector("[data-count]");
    const matches = (row) => inputs.every((input) => {
      const wanted = input.value.trim().toLowerCase();
      if (!wanted) return true;
      if (input.dataset.filter === "text") return (said(row.cells[0]) + "/" + said(row.cells[1])).toLowerCase().includes(wanted);
      return said(row.cells[Number(input.dataset.filter)]).toLowerCase() === wanted;
    });
    // A remark belongs to the row before it: taken down now, because sorting moves both.
    const owner = new Map();
    rows.forEach((row, index) => owner.set(row, row.classList.contains("remark") ? rows[index - 1] : row));
    const apply = () => {
      for (const [row, own] of owner) row.classList.toggle("filtered", !matches(own));
      const all = rows.filter((row) => !row.classList.contains("remark"));
      const shown = all.filter((row) => !row.classList.contains("filtered")).length;
      count.textContent = shown === all.length ? "" : `${shown} of ${all.length} rows`;
    };
    inputs.forEach((input) => input.addEventListener("input", apply));
  }

  for (const box of document.querySelectorAll("[data-hide]")) {
    box.addEventListener("change", () => document.body.classList.toggle(box.dataset.hide, !box.checked));
  }
  const zoom = document.getElementById("zoom");
  for (const picture of document.querySelectorAll(".pic")) {
    picture.addEventListener("click", () => {
      if (zoom.open) { zoom.close(); return; }
      const panel = picture.closest(".panel").cloneNode(true);
      panel.querySelector(".pic").addEventListener("click", () => zoom.close());
      zoom.querySelector("div").replaceChildren(panel);
      zoom.showModal();
    });
  }
})();
