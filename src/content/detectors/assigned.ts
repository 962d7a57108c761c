/**
 * A value with the name of a secret in front of it (`secret.assigned`), in text or as the name of a member: `db_password = …`, `"apiKey": "…"`.
 * Only values that no person means anything else by; what refers to a secret, or stands for one, is none. Not found: passphrases of words.
 */
import { needlesOf } from '../../lib/needles.ts';
import { entropyOf } from './entropy.ts';
import type { Found } from './found.ts';

export const SIGN_ASSIGNED = 8;
/** Names of secrets; what follows decides. */
export const ASSIGNED_WORDS: readonly string[] = [
  'passw',
  'pwd',
  'secret',
  'token',
  'api_key',
  'apikey',
  'api-key',
  'api key',
  'access_key',
  'accesskey',
  'access-key',
  'auth_key',
  'authkey',
  'private_key',
  'privatekey',
  'encryption_key',
  'signing_key',
  'credential',
  'passphrase',
  'kennwort',
  'passwort',
  'mot de passe',
  'contraseña',
];

const LONGEST = 200;
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;
/** Right behind the name: what else belongs to it, the sign of an assignment, the value. Sticky. */
const ASSIGNMENT =
  /[A-Za-z0-9_-]{0,24}["'`*]{0,3}\s{0,3}(?:=>|:=|==?|:|\bis\b|\blautet\b|\best\b|\bes\b)\s{0,3}["'`*]{0,3}([^\s"'`,;<>()[\]{}|\\]{8,200})/y;
/** A text that only names the place of a secret, or stands for one. */
const STANDS_FOR =
  /^(?:[$%<{[*.#]|process\.|os\.|env[.:]|self\.|this\.|config|settings|secrets?[./:]|vault:|file:|arn:|https?:|ssm:|credential:|null|none|undefined|true|false|string|your|my[-_]|x{3}|example|changeme|change[-_]me|placeholder|redacted|hidden|masked|required|optional|insert|replace|dummy|sample|test[-_]?|fake|get|req|res)|(?:\.{3}|[xX*•]{4}|_here$|\$\{|<|example|placeholder|redacted)/i;
const NO_SECRET_NAME =
  /(?:next|page|page_|sync|sync_|continuation|continuation_|resume|resume_|change|cursor|start|max|num|total|prompt_|completion_|input_|output_)[_-]?$/i;

/** Whether a value under the name of a secret is one: mixed enough that no person means anything else by it. */
export function isSecretValue(name: string, value: string): boolean {
  const body = value.replace(/[.!?:]+$/, '');
  if (body.length < 8 || body.length > LONGEST || STANDS_FOR.test(body)) return false;
  const lower = /[a-z]/.test(body);
  const upper = /[A-Z]/.test(body);
  const digit = /\d/.test(body);
  const sign = /[^A-Za-z0-9]/.test(body);
  const kinds = Number(lower) + Number(upper) + Number(digit) + Number(sign);
  if (PASSWORD.test(name))
    return kinds >= 3 && digit && !/^[\d./:-]+$/.test(body) && !/^[A-Za-z]+(?:[_.-][A-Za-z]+)*\d{0,2}$/.test(body);
  return (
    body.length >= 16 &&
    digit &&
    (lower || upper) &&
    /^[A-Za-z0-9+/=_.~-]+$/.test(body) &&
    entropyOf(body) > 3.2 &&
    !UUID.test(body) &&
    !/^\d{4}-\d\d/.test(body)
  );
}
const PASSWORD = /pass|pwd|kennwort|contrase/i;

const { symbolOf, next, ends } = needlesOf(ASSIGNED_WORDS);

export function assignedValues(text: string, add: (found: Found) => void): void {
  let until = 0;
  let state = 0;
  for (let i = 0; i < text.length; i++) {
    state = next[state + symbolOf[text.charCodeAt(i)]!]!;
    const words = ends[state]!;
    if (words.length === 0 || i < until) continue;
    const word = ASSIGNED_WORDS[words[0]!]!;
    ASSIGNMENT.lastIndex = i + 1;
    const match = ASSIGNMENT.exec(text);
    if (match === null) continue;
    const value = match[1]!.replace(/[.!?:]{1,8}$/, '');
    const end = i + 1 + match[0].length - (match[1]!.length - value.length);
    const before = text.slice(Math.max(0, i - 30), i + 1 - word.length);
    if (!isSecretValue(word, value) || NO_SECRET_NAME.test(before)) continue;
    until = end;
    add({ class: 'secret.assigned', start: end - value.length, end });
  }
}

/** Whether a member of that name holds a secret if its value looks like one. */
const WHOLE_NAME = new RegExp(`(?:${ASSIGNED_WORDS.join('|')})(?:$|[_-]?(?:value|hash)?$)`, 'i');
export const namesSecret = (name: string): boolean =>
  name.length < 60 &&
  WHOLE_NAME.test(name.toLowerCase().replace('password', 'passw').replace('passwd', 'passw')) &&
  !NO_SECRET_NAME.test(name.replace(/token$/i, ''));
