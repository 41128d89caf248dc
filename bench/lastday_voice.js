// How the crowd of `emeterai bench lastday` speaks: requests to the service, and to the bench, in batches, all that it saw.
import http from 'k6/http';

const EARS = __ENV.EARS;

let events = [], counts = {};
export const tell = (...facts) => events.push(facts);
export const bump = (name, status, times = 1) => {
  const key = `${Math.floor(Date.now() / 1000)} ${name} ${status}`;
  counts[key] = (counts[key] || 0) + times;
};
const packed = () => {
  const body = JSON.stringify({ events, counts });
  events = [];
  counts = {};
  return body;
};
export const flush = async () => {
  try {
    await http.asyncRequest('POST', EARS, packed(), { timeout: '20s' });
  } catch (error) {
    console.error(`nobody heard: ${error}`);
  }
};

export const sleep = (s) => new Promise((resolve) => setTimeout(resolve, s * 1000));
export const json = (answer) => {
  try {
    return answer.json() || {};
  } catch (error) {
    return {};
  }
};

// As the proxy before the service says it: all connections are of this machine, which has no bound of its own, so whoever
// lives here says with each request what address it comes from.
let address = {};
export const comesFrom = (named) => {
  address = { 'X-Forwarded-For': named };
};

export async function send(method, url, body, headers, { seconds = 30, kind = 'text' } = {}) {
  const params = { headers: { ...headers, ...address }, timeout: seconds * 1000, responseType: kind, jar: new http.CookieJar(), redirects: 0 };
  try {
    return await http.asyncRequest(method, url, body, params);
  } catch (error) {
    return { status: 0, headers: {}, timings: { duration: 0 }, json: () => ({}) };
  }
}
