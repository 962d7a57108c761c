/**
 * What a SAML response must look like before a parser sees it. Promises: bounded; UTF-8; no DOCTYPE, entity declaration,
 * comment, CDATA or processing instruction; one Response, one assertion, at most a signature for each; every ID once;
 * no algorithm that is not listed. Works on the text, which is sound because of the second promise: where none of these
 * exist, `<` begins a tag and nothing else. Does not check signatures (the library does) nor what is said (saml.ts).
 */
import { err, ok } from '../../lib/result.ts';
import type { Result } from '../../lib/result.ts';

export const MAX_RESPONSE_BYTES = 192 * 1_024;
/** Whoever reads it after us takes time that grows with the square of these: five hundred groups fit, and minutes do not. */
const MAX_ELEMENTS = 1_500;
const MAX_TAG = 4_096;

export type SamlFormRefusal =
  | 'too_large'
  | 'not_base64'
  | 'not_utf8'
  | 'not_xml'
  | 'markup_declaration' // DOCTYPE, entities, comments, CDATA: none has a place here
  | 'processing_instruction'
  | 'entity_reference' // other than the five of XML and character references
  | 'not_a_response'
  | 'assertions' // none, or several
  | 'signatures'
  | 'object' // ds:Object: signed content that is not where it is read
  | 'duplicate_id'
  | 'algorithm'
  | 'not_encrypted'
  | 'encrypted';

const ALGORITHMS: ReadonlySet<string> = new Set([
  'http://www.w3.org/2001/10/xml-exc-c14n#',
  'http://www.w3.org/2000/09/xmldsig#enveloped-signature',
  'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256',
  'http://www.w3.org/2001/04/xmldsig-more#rsa-sha384',
  'http://www.w3.org/2001/04/xmldsig-more#rsa-sha512',
  'http://www.w3.org/2001/04/xmlenc#sha256',
  'http://www.w3.org/2001/04/xmldsig-more#sha384',
  'http://www.w3.org/2001/04/xmlenc#sha512',
]);

/** For encrypted assertions only. CBC and RSA 1.5 can be decrypted by asking often enough. */
const ENCRYPTION: ReadonlySet<string> = new Set([
  'http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p',
  'http://www.w3.org/2009/xmlenc11#rsa-oaep',
  'http://www.w3.org/2009/xmlenc11#aes128-gcm',
  'http://www.w3.org/2009/xmlenc11#aes256-gcm',
]);
/** Inside of rsa-oaep-mgf1p, where the standard's default is SHA-1 and no collision helps anybody. */
const OAEP_DIGEST = 'http://www.w3.org/2000/09/xmldsig#sha1';

/** ATTACKER-CONTROLLED. The XML text, which may go to the library. */
export function readSamlForm(base64: string, encrypted: boolean): Result<string, SamlFormRefusal> {
  if (base64.length > (MAX_RESPONSE_BYTES * 4) / 3 + 4) return err('too_large');
  const compact = base64.replace(/[\r\n]/g, '');
  if (compact === '' || compact.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(compact)) return err('not_base64');
  let xml: string;
  try {
    xml = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(compact, 'base64'));
  } catch {
    return err('not_utf8');
  }
  const refusal = formRefusal(xml, 'Response', encrypted);
  return refusal === null ? ok(xml) : err(refusal);
}

/** The same for what came out of an encrypted assertion. */
export const readDecryptedForm = (xml: string): SamlFormRefusal | null => formRefusal(xml, 'Assertion', false);

function formRefusal(xml: string, root: 'Response' | 'Assertion', encrypted: boolean): SamlFormRefusal | null {
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufeff\ufffe\uffff]/.test(xml)) return 'not_xml';
  const body = xml.replace(
    /^<\?xml version="1\.0"(?: encoding="(?:UTF|utf)-8")?(?: standalone="(?:yes|no)")?\s*\?>\s*/,
    '',
  );
  if (body.includes('<!')) return 'markup_declaration';
  if (body.includes('<?')) return 'processing_instruction';
  if (/&(?!(?:amp|lt|gt|quot|apos|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)/.test(body)) return 'entity_reference';

  const tags = [...body.matchAll(/<([A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)(?=[\s/>])/g)].map((match) => match[2]);
  const count = (name: string): number => tags.filter((tag) => tag === name).length;
  // A tag that this reader cannot read is one that somebody else might.
  if (tags.length !== body.replaceAll('</', '').split('<').length - 1) return 'not_xml';
  const openings = body.match(/<[A-Za-z_](?:[^"'<>]|"[^"<]*"|'[^'<]*')*>/g) ?? [];
  if (openings.length !== tags.length) return 'not_xml';
  if (tags.length > MAX_ELEMENTS || openings.some((tag) => tag.length > MAX_TAG)) return 'too_large';
  if (!body.startsWith('<') || tags[0] !== root) return 'not_a_response';
  if (root === 'Response' && count('Response') !== 1) return 'not_a_response';
  if (count('Assertion') + count('EncryptedAssertion') !== 1) return 'assertions';
  if (root === 'Response' && encrypted && count('EncryptedAssertion') !== 1) return 'not_encrypted';
  if (!encrypted && count('EncryptedAssertion') !== 0) return 'encrypted';
  if (count('Signature') > 2 || count('SignedInfo') !== count('Signature')) return 'signatures';
  if (count('Reference') !== count('Signature')) return 'signatures';
  if (count('Object') !== 0) return 'object';

  const ids = valuesOf(body, /(?<![\w.:-])(?:ID|Id|id|xml:id|AssertionID)\s*=\s*(?:"([^"]*)"|'([^']*)')/g);
  if (ids.some((id) => !/^[A-Za-z_][\w.-]{0,199}$/.test(id)) || new Set(ids).size !== ids.length) return 'duplicate_id';
  const algorithms = valuesOf(body, /Algorithm\s*=\s*(?:"([^"]*)"|'([^']*)')/g);
  const listed = (name: string): boolean =>
    ALGORITHMS.has(name) || (encrypted && (ENCRYPTION.has(name) || name === OAEP_DIGEST));
  return algorithms.every(listed) ? null : 'algorithm';
}

/**
 * INVARIANT: both callers hold every value to a form without quotes or spaces, so no value can hide an attribute behind
 * a quote that is text somewhere else: it would be part of a value, and that value would not pass.
 */
const valuesOf = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map((match) => match[1] ?? match[2] ?? '');
