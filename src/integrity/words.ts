/** The difference of two texts by words, for people: what stayed, what went, what came. Bounded: longer texts are replaced as a whole. */

export interface Word {
  readonly kind: 'same' | 'gone' | 'new';
  readonly text: string;
}

const MAX_WORDS = 1_500;

/** Joined without anything in between, `same` and `gone` give the old text, `same` and `new` the new one. */
export function wordDiff(before: string, after: string): Word[] {
  const [old, now] = [before.match(/\s+|\S+/g) ?? [], after.match(/\s+|\S+/g) ?? []];
  if (old.length > MAX_WORDS || now.length > MAX_WORDS)
    return merged([
      ['gone', before],
      ['new', after],
    ]);
  const width = now.length + 1;
  // Lengths of the longest common parts of what is left on both sides.
  const common = new Uint16Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i--)
    for (let j = now.length - 1; j >= 0; j--)
      common[i * width + j] =
        old[i] === now[j]
          ? common[(i + 1) * width + j + 1]! + 1
          : Math.max(common[(i + 1) * width + j]!, common[i * width + j + 1]!);
  const words: Array<[Word['kind'], string]> = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      words.push(['same', old[i++]!]);
      j++;
    } else if (j === now.length || (i < old.length && common[(i + 1) * width + j]! >= common[i * width + j + 1]!))
      words.push(['gone', old[i++]!]);
    else words.push(['new', now[j++]!]);
  }
  return merged(words);
}

function merged(words: ReadonlyArray<readonly [Word['kind'], string]>): Word[] {
  const runs: Array<{ kind: Word['kind']; text: string }> = [];
  for (const [kind, text] of words) {
    const last = runs.at(-1);
    if (last?.kind === kind) last.text += text;
    else if (text !== '') runs.push({ kind, text });
  }
  return runs;
}
