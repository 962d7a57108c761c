/**
 * One text for all spellings of a URI that some server might take for the same resource: percent-encoding undone (also twice and three
 * times), case folded, Unicode composed, repeated and last slashes left out. For comparing only: what is sent is the URI as it came.
 * Folds more than RFC 3986 section 6 allows: whoever uses it refuses what it finds equal, and never lets something through for it.
 */
const ROUNDS = 3;

export function plainUri(uri: string): string {
  let plain = uri;
  for (let round = 0; round < ROUNDS && plain.includes('%'); round++) {
    try {
      plain = decodeURIComponent(plain);
    } catch {
      break;
    }
  }
  const folded = plain.normalize('NFC').toLowerCase().normalize('NFC').replaceAll('\\', '/');
  return folded.replace(/([^:/])\/{2,}/g, '$1/').replace(/\/+$/, '');
}
