"use strict";
// Filters and order of the list of questions. Without this script the page shows all of them.
(() => {
  const form = document.getElementById("filters");
  if (!form) return;
  const list = document.getElementById("questions");
  const questions = [...list.children].map((node, place) => ({
    node,
    place,
    text: node.dataset.text,
    ending: node.dataset.ending,
    source: node.dataset.source,
    score: node.dataset.score === "" ? null : Number(node.dataset.score),
    change: node.dataset.change === "" ? null : Number(node.dataset.change),
  }));
  // What has no value comes last in every order.
  const by = (name, sign) => (a, b) => {
    if (a[name] === null || b[name] === null) return (a[name] === null) - (b[name] === null) || a.place - b.place;
    return sign * (a[name] - b[name]) || a.place - b.place;
  };
  const ORDERS = {
    run: (a, b) => a.place - b.place,
    low: by("score", 1),
    high: by("score", -1),
    down: by("change", 1),
    up: by("change", -1),
  };
  const value = (id) => document.getElementById(id)?.value ?? "";
  function update() {
    const words = value("search").toLowerCase().split(/\s+/).filter(Boolean);
    const ending = value("ending"), source = value("source");
    let shown = 0;
    for (const question of [...questions].sort(ORDERS[value("order")])) {
      const matches = words.every((word) => question.text.includes(word))
        && (ending === "" || question.ending === ending)
        && (source === "" || question.source === source);
      question.node.hidden = !matches;
      shown += matches;
      list.append(question.node);
    }
    document.getElementById("count").textContent = `${shown} of ${questions.length}`;
  }
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", update);
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT)$/.test(event.target.tagName)) {
      event.preventDefault();
      document.getElementById("search").focus();
    } else if (event.key === "Escape" && event.target.id === "search") event.target.blur();
  });
  // Printed, a page shows what is open on the screen.
  update();
})();
