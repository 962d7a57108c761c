/**
 * Literal secrets anywhere in a spec (NH-04), by their shape or by the name they stand under, in every string and every member's name.
 * A finding is a place; the value is never repeated. It knows what `lib/secret-shapes.ts` knows: a password in a sentence passes.
 */
import { isSecret } from '../../inventory/servers.ts';
import { secretRanges } from '../../lib/secret-shapes.ts';

const REFERENCE = /^(?:env|file|vault|credential):./;

/** Paths from `spec` on. Deeper than 64 levels nothing arrives here: the reader of the body ends before. */
export function literalSecrets(value: unknown, path: readonly string[] = ['spec']): Array<readonly string[]> {
  if (typeof value === 'string') return holdsSecret(path.at(-1) ?? '', value) ? [path] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    const at = [...path, withoutSecrets(name)];
    return [...(secretRanges(name).length > 0 ? [at] : []), ...literalSecrets(inner, at)];
  });
}

function holdsSecret(name: string, value: string): boolean {
  if (secretRanges(value).length > 0) return true;
  return !REFERENCE.test(value) && isSecret(name, value);
}

/** For texts that quote what was sent. */
export function withoutSecrets(text: string): string {
  let out = '';
  let from = 0;
  for (const { kind, start, end } of secretRanges(text)) {
    out += `${text.slice(from, start)}[${kind}]`;
    from = end;
  }
  return out + text.slice(from);
}
