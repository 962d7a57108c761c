/**
 * Whether a sign-in had a second factor, from what a token says of it. The table is RFC 8176 section 2, sorted by what a person knows, has
 * and is; methods that are not in it count for nothing. Nothing here says whether the token is to be believed.
 */

/** What is asked for where somebody wants a second factor and names no `acr`: the value that products know (OpenID PAPE 1.0). */
export const SECOND_FACTOR_ACR = 'http://schemas.openid.net/pape/policies/2007/06/multi-factor';

type Kind = 'knows' | 'has' | 'is';
/** The others prove nothing of their own: `geo`, `rba` (risk), `mca` (channels), `user` (presence), `wia` (the login of the domain). */
const KIND_OF: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ['kba', 'knows'],
  ['pin', 'knows'],
  ['pwd', 'knows'],
  ['hwk', 'has'],
  ['otp', 'has'],
  ['pop', 'has'],
  ['sc', 'has'],
  ['sms', 'has'],
  ['swk', 'has'],
  ['tel', 'has'],
  ['face', 'is'],
  ['fpt', 'is'],
  ['iris', 'is'],
  ['retina', 'is'],
  ['vbm', 'is'],
]);

/** `mfa`, methods of two kinds, or the `acr` that means nothing else. Two passwords are one factor. */
export function hasSecondFactor({
  amr,
  acr,
}: {
  readonly amr: readonly string[];
  readonly acr: string | null;
}): boolean {
  if (acr === SECOND_FACTOR_ACR || amr.includes('mfa')) return true;
  const first = amr.map((method) => KIND_OF.get(method)).find((kind) => kind !== undefined);
  return amr.some((method) => (KIND_OF.get(method) ?? first) !== first);
}
