"use strict";
// Colours the tiles by how much there is of one property.
(() => {
  const chips = [...document.querySelectorAll(".chip")];
  const tiles = [...document.querySelectorAll("a.tile")];
  const said = document.getElementById("said");
  const first = said.textContent;

  function show(chip) {
    const quantity = chip.dataset.quantity;
    chips.forEach((other) => other.setAttribute("aria-pressed", String(other === chip)));
    const numbers = tiles.map((tile) => JSON.parse(tile.dataset.counts)[quantity] || 0);
    const most = Math.max(1, ...numbers);
    tiles.forEach((tile, index) => {
      const count = tile.querySelector(".count");
      tile.classList.remove("l0", "l1", "l2", "l3");
      if (!quantity) {
        count.textContent = count.dataset.all;
        return;
      }
      const level = numbers[index] ? 1 + Math.round((2 * Math.log1p(numbers[index])) / Math.log1p(most)) : 0;
      tile.classList.add(`l${Math.min(level, 3)}`);
      count.textContent = numbers[index] || "none";
    });
    const salts = numbers.filter((n) => n > 0).length;
    said.textContent = quantity ? `${chip.title}: ${salts} of ${tiles.length} salts` : first;
  }

  chips.forEach((chip) => chip.addEventListener("click", () => show(chip)));
})();
