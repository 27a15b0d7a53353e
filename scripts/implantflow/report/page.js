"use strict";
// Truth beside the figures: comparison.js, where it exists, lies beside this page and sets this variable.
(function () {
  var comparison = window.implantflowComparison;
  if (!comparison || !comparison.figures) { return; }
  document.querySelectorAll("[data-truth]").forEach(function (place) {
    var entry = comparison.figures[place.dataset.truth];
    if (entry) { place.textContent = entry.text; }
  });
  var section = document.getElementById("comparison");
  var body = document.querySelector("#comparison-table tbody");
  if (!section || !body) { return; }
  if (!comparison.available) {
    section.querySelector("p").textContent = comparison.note || "truth not available";
    section.querySelector(".scroll").remove();
  }
  Object.keys(comparison.figures).forEach(function (key) {
    var entry = comparison.figures[key];
    var line = document.createElement("tr");
    [key, entry.shown_value, entry.shown_truth, entry.shown_error].forEach(function (text, column) {
      var cell = document.createElement(column ? "td" : "th");
      cell.textContent = text === undefined || text === null ? "–" : String(text);
      line.appendChild(cell);
    });
    body.appendChild(line);
  });
  section.hidden = false;
})();

// The 3-D scene is unpacked when it comes into view, so that the page itself opens at once.
(function () {
  var frame = document.getElementById("scene-frame");
  if (!frame) { return; }
  var boxes = Array.prototype.slice.call(document.querySelectorAll("[data-part]"));
  function send() {
    var hidden = boxes.filter(function (b) { return !b.checked; }).map(function (b) { return Number(b.dataset.part); });
    ask({ hidden: hidden });
  }
  function ask(wish) { frame.contentWindow.postMessage({ implantflow: wish }, "*"); }
  document.querySelectorAll("[data-ask]").forEach(function (button) {
    button.addEventListener("click", function () { ask(JSON.parse(button.dataset.ask)); });
  });
  boxes.forEach(function (box) { box.addEventListener("change", send); });
  window.addEventListener("message", function (event) {
    if (event.source === frame.contentWindow && event.data && event.data.implantflowScene === "ready") {
      frame.dataset.ready = "yes";
      send();
    }
  });
  function load() {
    var source = document.getElementById("scene-source");
    if (source && !frame.srcdoc) { frame.srcdoc = JSON.parse(source.textContent); source.remove(); }
  }
  if ("IntersectionObserver" in window) {
    var watcher = new IntersectionObserver(function (seen) {
      if (seen.some(function (s) { return s.isIntersecting; })) { watcher.disconnect(); load(); }
    }, { rootMargin: "200px" });
    watcher.observe(frame);
  } else { load(); }
})();

// Layers under a slider: one wide picture, of which one frame is seen.
document.querySelectorAll(".frames").forEach(function (box) {
  var slider = box.querySelector("input");
  slider.addEventListener("input", function () { box.style.setProperty("--frame", slider.value); });
});
