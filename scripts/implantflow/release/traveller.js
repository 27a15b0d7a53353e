// The form saves and loads itself; nothing leaves the browser but the file the person saves.
"use strict";
(function () {
  const data = JSON.parse(document.getElementById("known").textContent);
  const form = document.getElementById("traveller");
  const message = document.getElementById("message");
  const fields = ["powder_lot", "powder_reuse_count", "machine_serial", "build_job"];

  function value(name) {
    const found = form.elements[name];
    return (found instanceof RadioNodeList ? found.value : found.value.trim());
  }

  function collect() {
    const out = Object.assign({}, data.known);
    for (const name of fields) out[name] = value(name);
    out.powder_reuse_count = out.powder_reuse_count === "" ? null : Number(out.powder_reuse_count);
    out.steps = data.steps.map((step) => ({
      step: step,
      who: value(step + ".who"),
      when: value(step + ".when"),
      accepted: { yes: true, no: false }[value(step + ".accepted")] ?? null,
      remarks: value(step + ".remarks"),
    }));
    return out;
  }

  function missing(out) {
    const open = fields.filter((name) => out[name] === "" || out[name] === null);
    for (const step of out.steps) {
      for (const key of ["who", "when", "accepted"]) {
        if (step[key] === "" || step[key] === null) open.push(step.step + ": " + key);
      }
    }
    return open;
  }

  function problems(out) {
    const found = missing(out).map((name) => name.replaceAll("_", " ") + " is missing");
    for (let i = 1; i < out.steps.length; i++) {
      const before = out.steps[i - 1], here = out.steps[i];
      if (before.when && here.when && here.when < before.when) {
        found.push((here.step + " is dated before " + before.step).replaceAll("_", " "));
      }
    }
    for (const step of out.steps) {
      if (step.accepted === false) found.push(step.step.replaceAll("_", " ") + " was not accepted");
    }
    return found;
  }

  function tell() {
    const found = problems(collect());
    message.className = found.length ? "bad" : "good";
    message.textContent = found.length
      ? found.length + " open: " + found.slice(0, 4).join("; ") + (found.length > 4 ? "; …" : "")
      : "Complete.";
  }

  function save() {
    const text = JSON.stringify(collect(), null, 2) + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "traveller." + data.known.case + "." + data.known.revision + ".json";
    link.click();
    URL.revokeObjectURL(link.href);
    tell();
  }

  async function load(event) {
    const file = event.target.files[0];
    if (!file) return;
    try {
      const found = JSON.parse(await file.text());
      for (const key of Object.keys(data.known)) {
        if (found[key] !== data.known[key]) throw new Error(key + " is not that of this part");
      }
      for (const name of fields) form.elements[name].value = found[name] ?? "";
      for (const step of found.steps) {
        form.elements[step.step + ".who"].value = step.who;
        form.elements[step.step + ".when"].value = step.when;
        form.elements[step.step + ".remarks"].value = step.remarks;
        const answer = step.accepted === true ? "yes" : step.accepted === false ? "no" : null;
        if (answer) form.elements[step.step + ".accepted"].value = answer;
      }
      tell();
    } catch (error) {
      message.className = "bad";
      message.textContent = "Not loaded: " + error.message;
    }
    event.target.value = "";
  }

  document.getElementById("save").addEventListener("click", save);
  document.getElementById("print").addEventListener("click", () => window.print());
  document.getElementById("load").addEventListener("change", load);
  form.addEventListener("input", tell);
  form.addEventListener("submit", (event) => event.preventDefault());
  tell();
})();
