// Grafana's own libraries in Node: jsdom's DOM, no components, since nothing is painted, and what Grafana registers at its start.
"use strict";

const Module = require("node:module");
const { JSDOM } = require("jsdom");

const NOT_DRAWN = /^(@grafana\/(ui|plugin-ui|assistant)|monaco-|react-grid-layout|react-select|@hello-pangea)/;

function nothing() {
  const get = (target, key) => (key === "__esModule" ? true : key === Symbol.toPrimitive ? () => "" : (target[key] ?? nothing()));
  return new Proxy(function () {}, { get, apply: () => nothing(), construct: () => ({}) });
}

function prepare() {
  const load = Module._load;
  Module._load = (name, ...rest) => (NOT_DRAWN.test(name) ? nothing() : load.call(Module, name, ...rest));
  Module._extensions[".css"] = () => {};
  const { window } = new JSDOM("<!doctype html>", { url: "http://localhost/", pretendToBeVisual: true });
  for (const name of Object.getOwnPropertyNames(window)) {
    if (!(name in globalThis)) globalThis[name] = window[name];
  }
  for (const name of ["Event", "CustomEvent", "EventTarget"]) globalThis[name] = window[name];
  Object.defineProperty(globalThis, "navigator", { value: window.navigator, configurable: true });
  globalThis.window = globalThis.window ?? window;
  window.grafanaBootData = { settings: {}, user: {}, navTree: [] };
  globalThis.IntersectionObserver = globalThis.ResizeObserver = class {
    observe() {}
  };
}

prepare();
const data = require("@grafana/data");
const runtime = require("@grafana/runtime");
const scenes = require("@grafana/scenes");
// the package's own entrance leads to its editors as well
const prometheusFolder = require("node:path").dirname(require.resolve("@grafana/prometheus"));
const { PrometheusDatasource } = require(`${prometheusFolder}/datasource.cjs`);

// what a panel may set of its fields, and how Grafana reads that; those with a point in their name are a kind of panel's own
const { identityOverrideProcessor: asIs, unitOverrideProcessor, dataLinksOverrideProcessor, thresholdsOverrideProcessor } = data;
const PROPERTIES = {
  unit: unitOverrideProcessor,
  links: dataLinksOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
  ...Object.fromEntries(["displayName", "noValue", "min", "max", "decimals", "color", "mappings"].map((id) => [id, asIs])),
  ...Object.fromEntries(["custom.lineStyle", "custom.fillOpacity"].map((id) => [id, asIs])),
};
const properties = new data.Registry(() =>
  Object.entries(PROPERTIES).map(([id, process]) => ({
    id,
    name: id,
    path: id.replace("custom.", ""),
    isCustom: id.startsWith("custom."),
    process,
    shouldApply: () => true,
    settings: {},
  })),
);

data.standardTransformersRegistry.setInit(() =>
  // some are there under two names
  [...new Map(Object.values(data.standardTransformers).map((each) => [each.id, each])).values()].map((each) => ({
    ...each,
    transformation: () => Promise.resolve(each),
  })),
);

module.exports = { data, runtime, scenes, PrometheusDatasource, properties };
