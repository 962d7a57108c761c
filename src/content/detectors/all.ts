/** Every detector, in the order they are asked: what must never pass comes first, in case the time does not suffice for the rest. */
import { signsOver } from '../signs.ts';
import type { Detector } from './found.ts';
import { NOTHING } from './found.ts';
import { ASSIGNED_WORDS, SIGN_ASSIGNED } from './assigned.ts';
import { INSTRUCTION_WORDS, instructions, SIGN_INSTRUCTION } from './instructions.ts';
import { links, MARKUP_WORDS, QUERY_WORDS, SIGN_MARKUP, SIGN_QUERY, SIGN_TAG, TAG_WORDS } from './links.ts';
import { BIRTH_WORDS, personal, SIGN_AT, SIGN_BIRTH } from './personal.ts';
import { SECRET_WORDS, secrets, SIGN_SECRET } from './secrets.ts';

export const HIDDEN = 'hidden';
export const HIDDEN_VERSION = 1;
export const OWN = 'own';
export const PLANTED = 'planted';

const own: Detector = {
  name: OWN,
  version: 1,
  family: 'own_secret',
  signs: 0,
  find: (text, { own }) =>
    own
      ?.find(text)
      .map(({ id, start, end }) => ({ class: `own_secret.${id}`, start, end, instead: '[redacted:own_secret]' })) ??
    NOTHING,
};
const planted: Detector = {
  name: PLANTED,
  version: 1,
  family: 'honeytoken',
  signs: 0,
  find: (text, { planted }) =>
    planted
      ?.find(text)
      .map(({ id, start, end }) => ({ class: `honeytoken.${id}`, start, end, instead: '[redacted:secret]' })) ??
    NOTHING,
};

export const DETECTORS: readonly Detector[] = [planted, own, secrets, links, personal, instructions];

export const signsOf = signsOver([
  { sign: SIGN_SECRET, words: SECRET_WORDS },
  { sign: SIGN_ASSIGNED, words: ASSIGNED_WORDS },
  { sign: SIGN_AT, words: ['@'] },
  { sign: SIGN_BIRTH, words: BIRTH_WORDS },
  { sign: SIGN_MARKUP, words: MARKUP_WORDS },
  { sign: SIGN_TAG, words: TAG_WORDS },
  { sign: SIGN_QUERY, words: QUERY_WORDS },
  { sign: SIGN_INSTRUCTION, words: INSTRUCTION_WORDS },
]);
