(function () {
  const search = document.getElementById("inventory-search");
  if (!search) return;
  const differs = document.getElementById("inventory-differs"), there = document.getElementById("inventory-there");
  const absent = new Set(["0", "no", "-", "none"]);

  function is_there(row) {
    return Array.from(row.querySelectorAll(".cell")).some(function (cell) { return !absent.has(cell.textContent); });
  }

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const body of document.querySelectorAll("tbody.inventory")) {
      let shown = 0;
      for (const row of body.querySelectorAll("tr.item")) {
        const text = row.textContent.toLowerCase();
        row.hidden = differs.checked && !row.dataset.differs || there.checked && !is_there(row) ||
          !words.every(function (word) { return text.includes(word); });
        shown += !row.hidden;
      }
      body.hidden = !shown;
    }
  }

  for (const control of [search, differs, there]) control.addEventListener("input", filter);
})();
