"use strict";
// Adds a box that checks all rows of a list, and disables its buttons while nothing is selected.
for (const form of document.querySelectorAll("form[data-select]")) {
  const rows = [...form.querySelectorAll("input[name=id]:enabled")];
  const every = form.querySelector("input[name=all]");
  const head = form.querySelector("th.check");
  const buttons = form.querySelectorAll("button[formaction]");
  if (!rows.length || !head) continue;
  const box = document.createElement("input");
  box.type = "checkbox";
  box.setAttribute("aria-label", "Select all rows of this page");
  head.replaceChildren(box);
  const update = () => {
    const checked = rows.filter((row) => row.checked).length;
    box.checked = checked === rows.length;
    box.indeterminate = checked > 0 && checked < rows.length;
    for (const button of buttons) button.disabled = !checked && !(every && every.checked);
  };
  box.addEventListener("change", () => {
    for (const row of rows) row.checked = box.checked;
    update();
  });
  form.addEventListener("change", update);
  update();
}
