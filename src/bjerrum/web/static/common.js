"use strict";
// Names, units and numbers as people read them.
const NAMES = {
  osmotic_coefficient: ["osmotic coefficient", "φ"],
  activity_coefficient: ["activity coefficient", "γ±"],
  ln_activity_coefficient: ["ln activity coefficient", "ln γ±"],
  dlna_dlnc: ["activity derivative", "∂ ln a / ∂ ln c"],
  diffusion_coefficient: ["diffusion coefficient", "D"],
  conductivity: ["conductivity", "κ"],
  viscosity: ["viscosity", "η"],
  density: ["density", "ρ"],
  dielectric_constant: ["dielectric constant", "ε"],
  association_constant: ["association constant", "K"],
  coordination_number: ["coordination number", "n"],
  first_peak: ["first peak of g(r)", "r"],
  rdf: ["radial distribution function", "g(r)"],
  pmf: ["potential of mean force", "w(r)"],
};
const UNITS = { angstrom: "Å", "1e-9 m2/s": "10⁻⁹ m²/s", "kg/m3": "kg/m³", 1: "" };
const SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉";

const nameOf = (quantity) => (NAMES[quantity] || [quantity.replaceAll("_", " ")])[0];
const symbolOf = (quantity) => (NAMES[quantity] || ["", quantity.replaceAll("_", " ")])[1];
const unitOf = (unit) => (unit in UNITS ? UNITS[unit] : unit);
const formulaOf = (salt) => salt.replace(/\d/g, (digit) => SUBSCRIPTS[digit]);
const pairOf = (subject) => subject.replace("-", "–");

// Values that others wrote go into plotly's little HTML only without their own marks.
const safe = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function valueText(value, error) {
  if (!error) return Number(value.toPrecision(4)).toString().replace("-", "−");
  const digits = Math.min(12, Math.max(0, 1 - Math.floor(Math.log10(error))));
  return `${value.toFixed(digits).replace("-", "−")} ± ${error.toFixed(digits)}`;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function getJson(address) {
  const answer = await fetch(address, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error((await answer.json()).detail || answer.statusText);
  return answer.json();
}
