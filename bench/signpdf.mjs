// Signs one file again and again with @signpdf/signpdf and prints how many a second. Used by peers.py.
import fs from 'node:fs';
import signpdf from '@signpdf/signpdf';
import { P12Signer } from '@signpdf/signer-p12';
import { plainAddPlaceholder } from '@signpdf/placeholder-plain';

const [file, store, seconds] = process.argv.slice(2);
const original = fs.readFileSync(file);
const key = fs.readFileSync(store);
async function one() {
  // A signer serves once: it reads its store to the end.
  const signer = new P12Signer(key, { passphrase: 'peer' });
  const pdfBuffer = plainAddPlaceholder({
    pdfBuffer: original, reason: 'bench', contactInfo: '-', name: 'bench', location: '-', signatureLength: 12000,
  });
  await signpdf.default.sign(pdfBuffer, signer);
}
await one();
let count = 0;
const began = performance.now();
while (performance.now() - began < Number(seconds) * 1000) { await one(); count += 1; }
console.log((count * 1000) / (performance.now() - began));
