// The load of `emeterai bench stamp`: each stamp with a file that nobody sent before, by the road that ROAD names.
import http from 'k6/http';
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';

const people = JSON.parse(open(__ENV.PEOPLE));
const letter = new Uint8Array(open(__ENV.LETTER, 'b'));
const mark = Number(__ENV.MARK); // where 16 bytes of the letter may be anything
const sealed = new Counter('sealed');
const refused = new Counter('refused');
const took = new Trend('stamp_ms', true);

export const options = {
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  scenarios: {
    stamps: __ENV.RATE
      ? {
          executor: 'constant-arrival-rate',
          rate: Number(__ENV.RATE),
          timeUnit: '1s',
          duration: __ENV.DURATION,
          preAllocatedVUs: 64,
          maxVUs: 256,
        }
      : { executor: 'constant-vus', vus: Number(__ENV.VUS), duration: __ENV.DURATION },
  },
};

// The form is laid out once: building it anew for each request would cost the generator more than sending it.
const boundary = '----emeterai-bench';
const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="surat.pdf"\r\nContent-Type: application/pdf\r\n\r\n`;
const tail = `\r\n--${boundary}--\r\n`;

function bytesOf(text) {
  return new Uint8Array([...text].map((character) => character.charCodeAt(0)));
}

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const form = __ENV.ROAD === 'tus' ? letter : joined(bytesOf(head), letter, bytesOf(tail));
const markInForm = __ENV.ROAD === 'tus' ? mark : head.length + mark;

function fresh() {
  const text = exec.scenario.iterationInTest.toString(16).padStart(8, '0') + __ENV.SEED;
  for (let i = 0; i < 16; i++) form[markInForm + i] = text.charCodeAt(i);
  return form.buffer;
}

function inOneRequest(headers) {
  return http.post(`${__ENV.BASE}/v1/stamps`, fresh(), {
    headers: { ...headers, 'Content-Type': `multipart/form-data; boundary=${boundary}` },
    timeout: '30s',
  });
}

function byUpload(headers) {
  const sent = http.post(`${__ENV.BASE}/v1/uploads`, fresh(), {
    headers: {
      ...headers,
      'Tus-Resumable': '1.0.0',
      'Upload-Length': String(letter.length),
      'Content-Type': 'application/offset+octet-stream',
    },
    timeout: '30s',
  });
  if (sent.status !== 201) return sent;
  const id = sent.headers.Location.split('/').pop();
  return http.post(`${__ENV.BASE}/v1/stamps`, JSON.stringify({ document_id: id }), {
    headers: { ...headers, 'Content-Type': 'application/json' },
    timeout: '30s',
  });
}

export default function () {
  const person = people[exec.scenario.iterationInTest % people.length];
  const headers = { Authorization: `Bearer ${person}`, Prefer: 'wait=20' };
  const began = Date.now();
  const answer = __ENV.ROAD === 'tus' ? byUpload(headers) : inOneRequest(headers);
  if (answer.status === 201 && answer.json('state') === 'sealed') {
    sealed.add(1);
    took.add(Date.now() - began);
  } else {
    refused.add(1);
    if (exec.scenario.iterationInTest % 50 === 0) console.error(answer.status, answer.body);
  }
}
