// What Grafana would draw of dashboards, as facts on standard output: a list of `{url, board, from, to, chosen, only}` comes on
// standard input, where `chosen` has lists of values by variable and `only` may be the letter of the one query that has data.
"use strict";

const { lastValueFrom } = require("rxjs");
const { data, runtime, scenes, PrometheusDatasource, properties } = require("./libraries.cjs");
const { backend } = require("./backend.cjs");

const SOURCE = { uid: "prom", name: "Prometheus", type: "prometheus", access: "proxy", jsonData: { timeInterval: "15s" } };
const UNITS = new Set(["string", ...data.getValueFormats().flatMap((kind) => kind.submenu.map((unit) => unit.value))]);

// the variables as Grafana keeps them, with what a reader chose: "$__all", or values
function scene(board, chosen, from, to) {
  const variables = board.templating.list.map((variable) => {
    if (variable.type === "datasource") {
      return new scenes.DataSourceVariable({ name: variable.name, pluginId: variable.query, value: SOURCE.uid });
    }
    const value = chosen[variable.name] ?? ["$__all"];
    const { name, query, multi: isMulti, includeAll, allValue } = variable;
    return new scenes.QueryVariable({ name, query, isMulti, includeAll, allValue, value, text: value });
  });
  const [start, end] = [from, to].map((seconds) => new Date(seconds * 1000).toISOString());
  return new scenes.EmbeddedScene({
    $timeRange: new scenes.SceneTimeRange({ from: start, to: end, timeZone: "utc" }),
    $variables: new scenes.SceneVariableSet({ variables }),
    body: new scenes.SceneFlexLayout({ children: [] }),
  });
}

async function variables(board, source, range) {
  const facts = [];
  for (const { name, type, query } of board.templating.list) {
    if (type !== "query") continue;
    const answer = await lastValueFrom(source.variables.query({ targets: [{ refId: name, query }], range, scopedVars: {} }));
    facts.push({ name, values: answer.data.map((each) => each.text) });
  }
  return facts;
}

async function annotations(board, source, request) {
  const facts = [];
  for (const annotation of board.annotations.list) {
    const prepared = source.annotations.prepareAnnotation(structuredClone(annotation));
    const { data: frames } = await lastValueFrom(source.query({ ...request, targets: [{ ...prepared.target, range: true }] }));
    const events = await lastValueFrom(source.annotations.processEvents(prepared, frames));
    facts.push({ name: annotation.name, titles: [...new Set(events.map((event) => event.title))] });
  }
  return facts;
}

function unknown(panel) {
  const overrides = panel.fieldConfig.overrides.flatMap((override) => override.properties);
  const units = [panel.fieldConfig.defaults.unit, ...overrides.filter(({ id }) => id === "unit").map(({ value }) => value)];
  return [
    ...units.filter((unit) => !UNITS.has(unit)),
    ...(panel.transformations ?? []).map(({ id }) => id).filter((id) => !data.standardTransformersRegistry.getIfExists(id)),
    ...overrides.map(({ id }) => id).filter((id) => !properties.getIfExists(id)),
    ...panel.fieldConfig.overrides.map(({ matcher }) => matcher.id).filter((id) => !data.fieldMatchers.getIfExists(id)),
    ...(panel.options?.reduceOptions?.calcs ?? []).filter((id) => !data.fieldReducers.getIfExists(id)),
  ];
}

function field(field, frame, frames) {
  const numbers = field.type === "number" ? field.values.filter((value) => value !== null) : [];
  const links = field.values.map((_, row) => field.getLinks({ valueRowIndex: row }));
  return {
    name: data.getFieldDisplayName(field, frame, frames),
    type: field.type,
    values: field.type === "string" ? field.values : [],
    labels: field.labels ?? {},
    finite: numbers.filter(Number.isFinite).length,
    texts: field.type === "string" ? field.values.map((value) => data.formattedValueToString(field.display(value))) : [],
    links: links.flatMap((ones, row) => ones.map(({ href }) => ({ row, href }))),
  };
}

async function draw(panel, source, request, replace) {
  const facts = { title: panel.title, type: panel.type, unknown: unknown(panel) };
  const answer = await lastValueFrom(source.query({ ...request, panelId: panel.id, targets: structuredClone(panel.targets) }));
  facts.errors = [answer.error, ...(answer.errors ?? [])].filter(Boolean).map(({ message }) => message);
  const context = { interpolate: (text) => replace(text) };
  const changed = await lastValueFrom(data.transformDataFrame(panel.transformations ?? [], answer.data, context));
  const matches = ({ id, options }) => {
    const test = data.fieldMatchers.getIfExists(id)?.get(options) ?? (() => false);
    return changed.some((frame) => frame.fields.some((one) => test(one, frame, changed)));
  };
  const frames = data.applyFieldOverrides({
    data: changed.map((frame) => data.toDataFrame(frame)),
    fieldConfig: panel.fieldConfig,
    fieldConfigRegistry: properties,
    replaceVariables: replace,
    theme: data.createTheme(),
    timeZone: "utc",
  });
  facts.unmatched = panel.fieldConfig.overrides.map(({ matcher }) => matcher).filter((matcher) => !matches(matcher));
  facts.frames = frames.map((frame) => frame.fields.map((one) => field(one, frame, frames)));
  facts.sorted = (panel.options?.sortBy ?? []).map(({ displayName }) => displayName);
  return facts;
}

async function main({ url, board, from, to, chosen, only }) {
  const asked = [];
  const top = scene(board, chosen, from, to);
  const replace = (text, scoped, format) => scenes.sceneGraph.interpolate(top, text, scoped, format);
  const templates = { replace, containsTemplate: (text) => text?.includes("$"), getVariables: () => [] };
  runtime.setTemplateSrv(templates);
  runtime.setBackendSrv(backend(url, asked, only));
  const source = new PrometheusDatasource({ ...SOURCE, meta: { id: "prometheus", streaming: false } }, templates);
  runtime.setDataSourceSrv({ get: async () => source, getInstanceSettings: () => SOURCE, getList: () => [SOURCE] });
  const [start, end] = [from, to].map((seconds) => data.dateTimeForTimeZone("utc", seconds * 1000));
  const range = { from: start, to: end, raw: { from: start, to: end } };
  data.locationUtil.initialize({ config: { appSubUrl: "" }, getVariablesUrlParams: () => ({}), getTimeRangeForUrl: () => ({}) });
  const intervalMs = Math.max(15_000, Math.ceil((to - from) / 240) * 1000);
  const scopedVars = { __interval: { value: `${intervalMs}ms` }, __interval_ms: { value: intervalMs } };
  const request = { requestId: "1", app: "dashboard", timezone: "utc", range, intervalMs, interval: "15s", scopedVars };
  const panels = [];
  for (const panel of board.panels.filter(({ type }) => type !== "row")) panels.push(await draw(panel, source, request, replace));
  const marks = await annotations(board, source, request);
  return { asked, variables: await variables(board, source, range), annotations: marks, panels };
}

async function read() {
  const parts = [];
  for await (const part of process.stdin) parts.push(part);
  return JSON.parse(Buffer.concat(parts).toString());
}

async function all(requests) {
  const facts = [];
  for (const request of requests) facts.push(await main(request)); // one after another, since some services are global
  return facts;
}

read()
  .then(all)
  .then((facts) => process.stdout.write(JSON.stringify(facts), () => process.exit(0)))
  .catch((error) => {
    console.error(error.stack);
    process.exit(1);
  });
