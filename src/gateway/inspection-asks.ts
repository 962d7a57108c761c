/**
 * Questions that no server may put to a person (CI-10, spec: elicitation, "Servers MUST NOT use form mode elicitation to request sensitive
 * information"): a form that asks for something to sign in or pay with, and a visit to an address that is not plainly one of the hosts its
 * record names. What a question says is a server's word: spelled oddly on purpose, in any language.
 * Not promised: a form that asks for a secret without calling it one. What is typed into it is still inspected as an answer.
 */
import { isJsonObject } from '../lib/json.ts';
import type { Json, JsonObject } from '../lib/json.ts';
import type { Server } from '../inventory/records.ts';

function words(list: string): ReadonlySet<string> {
  return new Set(list.split(' '));
}

/** As one word, as a part of one, or as several words that begin there. */
const LONG = (
  'password passwort passphrase passcode passwd kennwort losungswort kodewort motdepasse contrasena contrasenya clavedeacceso palavrapasse ' +
  'palavrachave parolaordine paroladordine parolaccesso wachtwoord haslodo losenord salasana adgangskode jelszo lozinka sifreniz ' +
  'credential anmeldedaten zugangsdaten identifiants apikey apitoken accesskey accesstoken authtoken bearertoken refreshtoken sessiontoken ' +
  'securitytoken secretkey clientsecret sharedsecret privatekey privaterschlussel clefprivee cleprivee claveprivada chiaveprivata signingkey ' +
  'sshkey encryptionkey seedphrase recoveryphrase recoverycode recoverykey mnemonic backupcode onetimecode onetimepassword verificationcode ' +
  'securitycode authenticationcode authenticatorcode 2facode mfacode otpcode smscode tancode einmalcode bestatigungscode sicherheitscode ' +
  'codedeverification codigodeverificacion twofactor zweifaktor cardnumber creditcard debitcard kreditkarte kartennummer numerodetarjeta ' +
  'numerodecarte cartebancaire numerocarta numerodicarta cartadicredito cardverification socialsecurity sozialversicherungsnummer ' +
  'numerodesecuritesociale sessioncookie'
).split(' ');
/** Words that say it in a sentence, too. */
const SAID = words(
  'pwd passwd pin pincode otp totp cvv cvv2 cvc cvc2 ssn mdp jwt senha heslo haslo sifre losen passord token secret geheimnis',
);
/** Words that say it as the name of a field. */
const NAMED = words('pass pw secrets tan mfa 2fa pan clave contra parola parole parool geslo kodeord pem');
/** In scripts without spaces, or other than Latin. */
const OTHER = (
  'пароль пин-код секретный токен 密码 密碼 口令 验证码 驗證碼 パスワード 暗証番号 認証コード 비밀번호 인증번호 암호 كلمة المرور كلمة السر ' +
  'סיסמה रहस्य पासवर्ड κωδικός πρόσβασης รหัสผ่าน mật khẩu'
).split(/ (?!المرور|السر|πρόσβασης|khẩu)/);
/** A number of tokens, a page of them, a colour of a pin: not something to sign in with. */
const HARMLESS =
  /\b(?:(?:max|min|page|next|previous|continuation|sync|cursor|count|total|number of|input|output|completion|prompt) (?:token|pass)|token (?:count|limit|budget)|pin (?:color|colour|board|to|the|this|it)|pass(?:ing)? (?:rate|mark|through))\b/g;

const LOOKS_LIKE: Readonly<Record<string, string>> = {
  а: 'a',
  е: 'e',
  о: 'o',
  р: 'p',
  с: 'c',
  у: 'y',
  х: 'x',
  і: 'i',
  ѕ: 's',
  ԁ: 'd',
  ո: 'n',
  ѡ: 'w',
  ԝ: 'w',
  к: 'k',
  т: 't',
  м: 'm',
  в: 'b',
  н: 'h',
  α: 'a',
  ο: 'o',
  ρ: 'p',
  ν: 'v',
  τ: 't',
  κ: 'k',
  ι: 'i',
  ϲ: 'c',
  ı: 'i',
  ł: 'l',
  ø: 'o',
  đ: 'd',
  ß: 'ss',
};
const LEET: Readonly<Record<string, string>> = {
  0: 'o',
  1: 'i',
  3: 'e',
  4: 'a',
  5: 's',
  7: 't',
  8: 'b',
  $: 's',
  '@': 'a',
  '!': 'i',
  '|': 'l',
};

const LONGEST_READ = 4_096;
const folded = (text: string): string =>
  text
    .normalize('NFKD')
    // Between the words of a name that is written as one.
    .replace(/(\p{Ll}|\p{N})(\p{Lu})/gu, '$1 $2')
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, '$1 $2')
    .toLowerCase()
    .replace(/[\p{M}\p{Cf}\p{Cc}]/gu, '');

/**
 * Whether a text names something to sign in or pay with. `name`: it is what a field is called, not a sentence about it. ATTACKER-CONTROLLED:
 * how much stands before it. What is longer than anybody reads counts as if it did.
 */
export function namesSecret(text: string, name: boolean): boolean {
  if (text.length > LONGEST_READ) return true;
  const plain = folded(text);
  if (OTHER.some((word) => plain.includes(folded(word)))) return true;
  const latin = Array.from(plain, (letter) => LOOKS_LIKE[letter] ?? letter)
    .join('')
    .replace(/[_.-]+/g, ' ')
    .replace(HARMLESS, ' ');
  const leet = Array.from(latin, (letter) => LEET[letter] ?? letter).join('');
  return inWords(wordsOf(latin), name) || (leet !== latin && inWords(wordsOf(leet), name));
}

/** Letters that stand alone, one after the other, are one word. */
const wordsOf = (text: string): readonly string[] =>
  text
    .replace(/(?<=(?:^|[^a-z0-9])[a-z0-9])[^a-z0-9]{1,3}(?=[a-z0-9](?:[^a-z0-9]|$))/g, '')
    .split(/[^a-z0-9]+/)
    .filter((word) => word !== '');

function inWords(words_: readonly string[], name: boolean): boolean {
  for (const [at, word] of words_.entries()) {
    if (SAID.has(word) || (name && NAMED.has(word))) return true;
    const next = words_.slice(at, at + 5).join('');
    if (LONG.some((long) => word.includes(long) || next.startsWith(long))) return true;
  }
  return false;
}

/** What can be typed freely into. Yes or no, and a choice among what is offered, tell nobody a secret. */
const takesText = (field: JsonObject): boolean =>
  (field['type'] === 'string' || field['type'] === 'number' || field['type'] === 'integer') &&
  field['enum'] === undefined &&
  field['oneOf'] === undefined;

/** Whether a form asks for something to sign in or pay with. `params` as the server sent them. */
export function asksForSecret({ message, requestedSchema }: JsonObject): boolean {
  const properties = isJsonObject(requestedSchema) ? requestedSchema['properties'] : null;
  if (!isJsonObject(properties)) return false;
  let typed = false;
  for (const [name, field] of Object.entries(properties)) {
    if (!isJsonObject(field) || !takesText(field)) continue;
    typed = true;
    const { title, description, format, default: preset } = field;
    if (format === 'password' || field['writeOnly'] === true) return true;
    if (says(name, true) || says(title, true) || says(description) || says(preset)) return true;
  }
  const about = isJsonObject(requestedSchema) ? [requestedSchema['title'], requestedSchema['description']] : [];
  return typed && [message, ...about].some((text) => says(text));
}

const says = (text: Json | undefined, name = false): boolean => typeof text === 'string' && namesSecret(text, name);

/** Letters, digits, inner hyphens; the last label is no number, so it is no address in any spelling. */
const HOST = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])$/;

/**
 * Whether a person may be sent there. `hosts`: `name`, `name:port` or `*.name`, in lower case. ATTACKER-CONTROLLED: the address; it is read
 * as written, before a parser makes something of it, because whoever sees it reads it as written.
 */
export function mayVisit(url: Json | undefined, hosts: ReadonlySet<string>): url is string {
  if (typeof url !== 'string' || url.length > 2_048) return false;
  const written = /^https:\/\/([A-Za-z0-9.-]+)(?::([0-9]{1,5}))?(?:[/?#][\x21-\x7e]*)?$/i.exec(url);
  if (written === null || url.includes('\\')) return false;
  const parsed = URL.parse(url);
  const host = written[1]!.toLowerCase();
  if (parsed?.protocol !== 'https:' || parsed.hostname !== host || parsed.username !== '' || parsed.password !== '')
    return false;
  if (!HOST.test(host) || host.split('.').some((label) => label.startsWith('xn--'))) return false;
  if (parsed.port !== '') return hosts.has(`${host}:${parsed.port}`);
  if (hosts.has(host)) return true;
  for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1))
    if (hosts.has(`*${host.slice(dot)}`)) return true;
  return false;
}

/** Where a server may send people: what its record says, else to itself. */
export function visitsOfServer({ visits, upstream }: Pick<Server, 'visits' | 'upstream'>): ReadonlySet<string> {
  if (visits !== undefined) return new Set(visits);
  return new Set(upstream.transport === 'stdio' ? [] : [new URL(upstream.url).host]);
}
