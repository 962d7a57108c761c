/**
 * Reads `WWW-Authenticate` of a protected resource (RFC 9110 section 11.6.1, RFC 6750 section 3, RFC 9449 section 7.1,
 * RFC 9728 section 5.1) and scope lists. ATTACKER-CONTROLLED: bounded, and what cannot be read says nothing.
 */

export interface Challenge {
  readonly error: string | null;
  /** Null: not said. */
  readonly scopes: readonly string[] | null;
  readonly resourceMetadata: string | null;
}

const MAX_LENGTH = 8_192;
const MAX_SCOPES = 64;
const SPACE = /[ \t,]*/y;
const PARAMETER =
  /([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+\-.^_`|~0-9A-Za-z]+))[ \t]*(?=,|$)/y;
const SCHEME = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:[ \t]+|(?=,)|$)/y;
const TOKEN68 = /[A-Za-z0-9\-._~+/]+=*[ \t]*(?=,|$)/y;
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/;

/** A list of scopes as RFC 6749 section 3.3 has it; null when it is none, or too long. */
export function readScopes(text: unknown): readonly string[] | null {
  if (typeof text !== 'string' || text.length > MAX_LENGTH) return null;
  return checkedScopes(text.split(' ').filter((scope) => scope !== ''));
}

export function checkedScopes(scopes: readonly string[]): readonly string[] | null {
  const distinct = [...new Set(scopes)];
  return distinct.length <= MAX_SCOPES && distinct.every((scope) => SCOPE.test(scope)) ? distinct : null;
}

/** What the first Bearer or DPoP challenge says that says more than its name; null: there is none that can be read. */
export function readChallenge(header: string | readonly string[] | undefined): Challenge | null {
  const text = typeof header === 'string' ? header : (header ?? []).join(', ');
  if (text.length > MAX_LENGTH) return null;
  const ours = challenges(text).filter(({ scheme }) => scheme === 'bearer' || scheme === 'dpop');
  const chosen = ours.find(({ parameters }) => parameters.size > 0) ?? ours[0];
  if (chosen === undefined) return null;
  const { parameters } = chosen;
  return {
    error: parameters.get('error') ?? null,
    scopes: readScopes(parameters.get('scope')),
    resourceMetadata: parameters.get('resource_metadata') ?? null,
  };
}

interface Raw {
  readonly scheme: string;
  readonly parameters: Map<string, string>;
}

function challenges(text: string): readonly Raw[] {
  const found: Raw[] = [];
  let at = 0;
  const next = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  while (at < text.length) {
    next(SPACE);
    if (at >= text.length) break;
    const current = found.at(-1);
    const parameter = current === undefined ? null : next(PARAMETER);
    if (parameter !== null) {
      const name = parameter[1]!.toLowerCase();
      // Said twice: which one holds is anybody's guess.
      if (current!.parameters.has(name)) return [];
      current!.parameters.set(name, parameter[2]?.replace(/\\(.)/g, '$1') ?? parameter[3]!);
      continue;
    }
    const scheme = next(SCHEME);
    if (scheme !== null) found.push({ scheme: scheme[1]!.toLowerCase(), parameters: new Map() });
    else if (current === undefined || next(TOKEN68) === null) return [];
  }
  return found;
}
