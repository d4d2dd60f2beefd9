/* Buttons that copy what stands in the element they name. */
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  function selected(element) {
    const selection = window.getSelection();
    selection.selectAllChildren(element);
    return selection;
  }

  async function copy(button) {
    const element = document.getElementById(button.dataset.copy);
    let copied = false;
    try {
      await navigator.clipboard.writeText(element.textContent);
      copied = true;
    } catch {  // without TLS there is no clipboard: what is selected can be copied all the same
      selected(element);
      copied = document.execCommand("copy");
    }
    const text = button.textContent;
    button.textContent = copied ? "✓" : "…";
    setTimeout(() => { button.textContent = text; }, 1500);
  }

  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
});
