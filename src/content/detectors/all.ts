/** Every detector, in the order they are asked: what must never pass comes first, in case the time does not suffice for the rest. */
import { signsOver } from '../signs.ts';
import type { Detector } from './found.ts';
import { NOTHING } from './found.ts';
import { SECRET_NEEDLES, SIGN_SECRET, secrets } from './secrets.ts';

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

export const DETECTORS: readonly Detector[] = [planted, own, secrets];

export const signsOf = signsOver([{ sign: SIGN_SECRET, needles: SECRET_NEEDLES }]);
