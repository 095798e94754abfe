"use strict";
(function () {
  const details = JSON.parse(document.getElementById("details").textContent);
  const search = document.getElementById("search"), area = document.getElementById("area");
  const priority = document.getElementById("priority");
  const chips = Array.from(document.querySelectorAll(".chip input"));
  const rows = Array.from(document.querySelectorAll("tr.row"));
  const bodies = Array.from(document.querySelectorAll("#matrix tbody"));
  const texts = new Map(rows.map(function (row) {
    return [row, (row.textContent + " " + details[row.dataset.id].c).toLowerCase()];
  }));

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function close(row) {
    const next = row.nextElementSibling;
    if (next && next.classList.contains("detail")) next.remove();
  }

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const states = chips.filter(function (chip) { return chip.checked; }).map(function (chip) { return chip.value; });
    let shown = 0;
    for (const body of bodies) {
      let here = 0;
      for (const row of body.querySelectorAll("tr.row")) {
        const fits = (!area.value || area.value === body.dataset.area) &&
          (!priority.value || row.dataset.priority === priority.value) &&
          (!states.length || states.includes(row.dataset.state)) &&
          words.every(function (word) { return texts.get(row).includes(word); });
        row.hidden = !fits;
        if (!fits) close(row);
        here += fits;
      }
      body.hidden = !here;
      shown += here;
    }
    document.getElementById("shown").textContent = shown + " of " + rows.length;
    document.getElementById("empty").hidden = shown > 0;
    return states;
  }

  /* The filters are in the address, so that what one sees can be sent to somebody. */
  function remember() {
    const states = filter();
    const parts = new URLSearchParams();
    if (search.value) parts.set("q", search.value);
    if (area.value) parts.set("area", area.value);
    if (priority.value) parts.set("p", priority.value);
    if (states.length) parts.set("v", states.join(","));
    try {
      history.replaceState(null, "", parts.toString() ? "#" + parts : location.pathname + location.search);
    } catch (error) { /* some browsers forbid it for files */ }
  }

  function recall() {
    if (!location.hash.includes("=")) return;
    const parts = new URLSearchParams(location.hash.slice(1));
    search.value = parts.get("q") || "";
    area.value = parts.get("area") || "";
    priority.value = parts.get("p") || "";
    const states = (parts.get("v") || "").split(",");
    for (const chip of chips) chip.checked = states.includes(chip.value);
    if (parts.get("open")) {
      const row = rows.find(function (one) { return one.dataset.id === parts.get("open"); });
      if (row) open(row);
    }
  }

  function open(row) {
    const next = row.nextElementSibling;
    if (next && next.classList.contains("detail")) return next.remove();
    const about = details[row.dataset.id];
    const made = element("tr", "", "detail"), cell = element("td");
    cell.colSpan = row.cells.length;
    const list = element("dl");
    for (const [name, text] of [["Fields", about.f], ["Needs", about.c]]) {
      if (text && text !== "-") list.append(element("dt", name), element("dd", text));
    }
    cell.append(list);
    if (!about.p.length) cell.append(element("p", "No test of this requirement ran."));
    for (const [target, image, verdict, title, reason, checks, seconds, repro] of about.p) {
      const point = element("div", "", "point");
      const kind = ["pass", "skip", "known"].includes(verdict) ? verdict : "fail";
      point.append(element("span", verdict, "pill " + kind), " " + title + " ", element("small", "[" + image + ", " + target + "; " +
        checks + " checks, " + seconds.toFixed(3) + " s]"));
      if (reason) point.append(element("p", reason));
      point.append(repeat(repro));
      cell.append(point);
    }
    made.append(cell);
    row.after(made);
  }

  function repeat(command) {
    const line = element("p", "", "repeat");
    line.append(element("code", command), element("button", "copy", "copy"));
    return line;
  }

  document.addEventListener("click", function (event) {
    const copy = event.target.closest(".copy");
    if (copy) {
      const text = copy.previousElementSibling.textContent;
      const done = function () { copy.textContent = "copied"; };
      if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, function () {});
      return;
    }
    const button = event.target.closest("button.area");
    if (button) {
      area.value = button.dataset.area;
      remember();
      document.getElementById("matrix").scrollIntoView();
      return;
    }
    const row = event.target.closest("tr.row");
    if (row && !String(getSelection())) open(row);
  });
  document.addEventListener("keydown", function (event) {
    if (event.key === "Enter" && event.target.matches("tr.row")) open(event.target);
  });
  document.getElementById("reset").addEventListener("click", function () {
    search.value = area.value = priority.value = "";
    for (const chip of chips) chip.checked = false;
    remember();
  });
  for (const control of [search, area, priority].concat(chips)) control.addEventListener("input", remember);
  window.addEventListener("hashchange", function () { recall(); filter(); });
  recall();
  filter();
})();
