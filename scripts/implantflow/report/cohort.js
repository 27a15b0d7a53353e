"use strict";
// Sort by a click on a heading (again: the other way round; cases without a figure stay last), filter by words.
(function () {
  var table = document.getElementById("table");
  var body = table.tBodies[0];
  var heads = Array.prototype.slice.call(table.tHead.rows[0].cells);
  var rows = Array.prototype.slice.call(body.rows);

  function key(row, column) {
    var cell = row.cells[column];
    if (cell.dataset.value === undefined) { return cell.textContent.trim().toLowerCase(); }
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  }

  function sort(column, down) {
    rows.sort(function (a, b) {
      var x = key(a, column), y = key(b, column);
      if (x === null || y === null) { return (x === null) - (y === null); }
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
    });
    rows.forEach(function (row) { body.appendChild(row); });
    heads.forEach(function (head, n) {
      if (n === column) { head.setAttribute("aria-sort", down ? "descending" : "ascending"); }
      else { head.removeAttribute("aria-sort"); }
    });
  }

  heads.forEach(function (head, column) {
    head.firstElementChild.addEventListener("click", function () {
      sort(column, head.getAttribute("aria-sort") === "ascending");
    });
  });

  document.getElementById("filter").addEventListener("input", function (event) {
    var words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    var visible = 0;
    rows.forEach(function (row) {
      var text = row.textContent.toLowerCase();
      row.hidden = !words.every(function (word) { return text.indexOf(word) >= 0; });
      if (!row.hidden) { visible += 1; }
    });
    document.getElementById("shown").textContent = visible + " of " + rows.length;
  });
})();
