// How the people of `emeterai bench lastday` send their file: at once, in pieces by a slow line, or by that of a phone.
import { over } from './lastday_arrivals.js';
import { send, sleep, tell } from './lastday_voice.js';

const SLOW = 0.3, BREAKS = 0.15, PIECES = 4, THINK = Number(__ENV.THINK), BUY = 'buy';
const PHONES = Number(__ENV.PHONES), LINES = __ENV.LINES; // of the slow ones so many send by the relay, which is there
const TUS = { 'Tus-Resumable': '1.0.0' }, OCTETS = { 'Content-Type': 'application/offset+octet-stream' };

// A quick line sends the file at once. A slow one sends it in pieces, and may break: then it goes on from where it was.
// Answers the document's id, or what refused it: null when nothing did and the day is over.
export async function uploaded(person, file) {
  const slow = Math.random() < SLOW, all = { ...TUS, 'Upload-Length': String(file.byteLength) };
  const part = slow && Math.random() < PHONES ? byPhone : aPiece;
  const begun = slow
    ? await person.insist(BUY, 'upload', 'POST', '/v1/uploads', null, all)
    : await person.insist(BUY, 'upload', 'POST', '/v1/uploads', file, { ...all, ...OCTETS });
  if (!begun || begun.status !== 201) return { refused: begun };
  const place = begun.headers.Location;
  let offset = Number(begun.headers['Upload-Offset'] || 0);
  while (offset < file.byteLength) {
    if (over()) return { refused: null };
    const answer = await part(person, place, file, offset);
    if (answer.status === 204) {
      offset = Number(answer.headers['Upload-Offset']);
    } else {
      await sleep(0.5 + Math.random());
      const seen = await person.insist(BUY, 'offset', 'HEAD', place, null, TUS);
      if (!seen || seen.status !== 200) return { refused: seen };
      offset = Number(seen.headers['Upload-Offset']);
    }
    if (part === aPiece && slow) await sleep(0.3 * THINK * Math.random());
  }
  if (part === byPhone) tell('phone', Date.now());
  return { id: place.split('/').pop() };
}

async function aPiece(person, place, file, offset) {
  const piece = file.slice(offset, Math.min(file.byteLength, offset + Math.ceil(file.byteLength / PIECES)));
  const breaks = Math.random() < BREAKS, sent = { ...TUS, ...OCTETS, 'Upload-Offset': String(offset) };
  return await person.ask(breaks ? 'broken' : BUY, 'piece', 'PATCH', place, piece, sent, { seconds: breaks ? 0.003 : 30 });
}

// All that is left of it, by a line of its own whose pace and fate are the relay's affair. A line that broke is nobody's
// refusal, and how long it took is told of no request: it says how slow the phone is.
async function byPhone(person, place, file, offset) {
  const sent = { ...TUS, ...OCTETS, 'Upload-Offset': String(offset), Connection: 'close' };
  const began = Date.now(), answer = await send('PATCH', LINES + place, file.slice(offset), person.headers(sent), { seconds: 60 });
  tell('r', began, answer.status ? BUY : 'broken', 'phone', answer.status, Date.now() - began, person.pass ? 1 : 0);
  return answer;
}
