// What Grafana's server does between its pages and Prometheus: it fills in windows and steps, and makes frames of series.
"use strict";

const { lastValueFrom, from } = require("rxjs");

const SCRAPE = 15_000;

// Prometheus's answer, or an error that says what it said
async function ask(url, path, parameters) {
  const response = await fetch(`${url}/${path}?${new URLSearchParams(parameters)}`);
  const body = await response.json();
  if (body.status !== "success") throw new Error(`${body.error} in ${parameters.query ?? parameters["match[]"]}`);
  return body;
}

function windows(expr, query, length) {
  const rate = Math.max(query.intervalMs + SCRAPE, 4 * SCRAPE) / 1000;
  const values = { __rate_interval: `${rate}s`, __range: `${Math.round(length / 1000)}s` };
  return expr.replace(/\$(?:{(\w+)}|(\w+))/g, (whole, braced, bare) => values[braced ?? bare] ?? whole);
}

function nameOf({ legendFormat, expr }, metric) {
  if (legendFormat) return legendFormat.replace(/{{\s*(.+?)\s*}}/g, (_, label) => metric[label] ?? "");
  const labels = Object.entries(metric).filter(([label]) => label !== "__name__");
  const inside = labels.map(([label, value]) => `${label}=${JSON.stringify(value)}`).sort();
  return inside.length ? `${metric.__name__ ?? ""}{${inside.join(", ")}}` : (metric.__name__ ?? expr);
}

function frame(query, step, series) {
  const samples = series.values ?? [series.value];
  const name = nameOf(query, series.metric);
  const config = name ? { displayNameFromDS: name } : {};
  return {
    schema: {
      refId: query.refId,
      name,
      meta: { custom: { resultType: series.values ? "matrix" : "vector" } },
      fields: [
        { name: "Time", type: "time", config: { interval: step } },
        { name: "Value", type: "number", labels: series.metric, config },
      ],
    },
    data: { values: [samples.map(([time]) => time * 1000), samples.map(([, value]) => Number(value))] },
  };
}

async function answer(url, query, start, end, asked) {
  const expr = windows(query.expr, query, end - start);
  asked.push(expr);
  const step = Math.max(query.intervalMs, SCRAPE);
  const { data } = query.instant
    ? await ask(url, "api/v1/query", { query: expr, time: end / 1000 })
    : await ask(url, "api/v1/query_range", { query: expr, start: start / 1000, end: end / 1000, step: step / 1000 });
  // Grafana's server adds a frame without fields where Prometheus has nothing
  if (!data.result.length) return [{ schema: { refId: query.refId, meta: {}, fields: [] }, data: { values: [] } }];
  return data.result.map((series) => frame(query, step, series));
}

// the service that Grafana's data sources send their requests through; what it asks comes into `asked`, and where `only` is a
// letter the queries of all others are left without data
function backend(url, asked, only) {
  async function fetched({ url: path, data, params }) {
    const resource = path.match(/\/resources\/(.*)$/);
    if (resource) return ask(url, resource[1], params ?? data);
    const results = {};
    for (const query of data.queries) {
      const silent = only && only !== query.refId;
      const expr = silent ? "vector(1) > 1" : query.expr;
      results[query.refId] = await answer(url, { ...query, expr }, Number(data.from), Number(data.to), asked).then(
        (frames) => ({ status: 200, frames }),
        ({ message }) => ({ status: 400, error: message }),
      );
    }
    return { results };
  }
  const send = (request) => from(fetched(request).then((body) => ({ data: body, status: 200, ok: true })));
  return { fetch: send, get: (path, params) => lastValueFrom(send({ url: path, params })).then((response) => response.data) };
}

module.exports = { backend };
