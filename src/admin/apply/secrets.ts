/**
 * Literal secrets anywhere in a spec (NH-04), by their shape or by the name they stand under, in every string and every member's name.
 * A finding is a place; the value is never repeated. It knows what `lib/definition-secrets.ts` knows: a password in a sentence passes.
 */
import { isSecret } from '../../inventory/servers.ts';
import { holdsLiteralSecret, withoutLiteralSecrets as withoutSecrets } from '../../lib/definition-secrets.ts';

const REFERENCE = /^(?:env|file|vault|credential):./;

/** Paths from `spec` on. Deeper than 64 levels nothing arrives here: the reader of the body ends before. */
export function literalSecrets(value: unknown, path: readonly string[] = ['spec']): Array<readonly string[]> {
  if (typeof value === 'string') return holdsSecret(path.at(-1) ?? '', value) ? [path] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    const at = [...path, withoutSecrets(name)];
    return [...(holdsLiteralSecret(name) ? [at] : []), ...literalSecrets(inner, at)];
  });
}

/** Under a name that says so, a value that is no reference is one, whatever it looks like. */
const holdsSecret = (name: string, value: string): boolean =>
  REFERENCE.test(value) ? holdsLiteralSecret(value) : isSecret(name, value);
