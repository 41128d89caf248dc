// The load of `emeterai bench stamp`: one request a stamp, each with a file that nobody sent before.
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

function fresh() {
  const copy = letter.slice();
  const text = exec.scenario.iterationInTest.toString(16).padStart(8, '0') + __ENV.SEED;
  for (let i = 0; i < 16; i++) copy[mark + i] = text.charCodeAt(i);
  return copy.buffer;
}

export default function () {
  const person = people[exec.scenario.iterationInTest % people.length];
  const answer = http.post(
    `${__ENV.BASE}/v1/stamps`,
    { file: http.file(fresh(), 'surat.pdf', 'application/pdf') },
    { headers: { Authorization: `Bearer ${person}`, Prefer: 'wait=20' }, timeout: '30s' },
  );
  if (answer.status === 201 && answer.json('state') === 'sealed') {
    sealed.add(1);
    took.add(answer.timings.duration);
  } else {
    refused.add(1);
    if (exec.scenario.iterationInTest % 50 === 0) console.error(answer.status, answer.body);
  }
}
