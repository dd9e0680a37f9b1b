// Calls of the server. The token stays in this tab's storage, and goes nowhere but to this server.

const TOKEN = "deltafold-token";

/** The database that the page shows. */
export const place = { tenant: "default_tenant", database: "default_database", readOnly: false };

/** A call that the server refused or failed. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function token() {
  return sessionStorage.getItem(TOKEN);
}

export function keep(text) {
  if (text) sessionStorage.setItem(TOKEN, text);
  else sessionStorage.removeItem(TOKEN);
}

export async function call(method, path, body, signal) {
  const headers = {};
  if (token()) headers.Authorization = `Bearer ${token()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer. Is it running?");
  }
  const text = await response.text();
  let answer = null;
  try {
    answer = JSON.parse(text);
  } catch {
    // An error of something in between, such as a proxy.
  }
  if (!response.ok) throw new Refused(response.status, answer?.message ?? `The server answered ${response.status}.`);
  return answer;
}

/** The collections of the database. */
export function collections() {
  return `/api/v2/tenants/${encodeURIComponent(place.tenant)}/databases/${encodeURIComponent(place.database)}/collections`;
}

/** The path of a call of Deltafold's own on a collection. */
export function own(collection, rest) {
  const [tenant, database] = [place.tenant, place.database].map(encodeURIComponent);
  return `/api/deltafold/tenants/${tenant}/databases/${database}/collections/${encodeURIComponent(collection)}/${rest}`;
}

/** Does work on every item, a few at once. */
export async function each(items, work) {
  const waiting = [...items];
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}
