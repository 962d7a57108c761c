import { expect, test } from 'vitest';
import { SECOND_FACTOR_ACR, hasSecondFactor } from '../../src/lib/second-factor.ts';

test.each<[boolean, readonly string[], string | null, string]>([
  [false, [], null, 'nothing is said'],
  [false, ['pwd'], null, 'a password'],
  [false, ['pwd', 'pin', 'kba'], null, 'three things that are known'],
  [false, ['otp', 'sms', 'hwk'], null, 'three things that are had'],
  [false, ['face', 'fpt'], null, 'two of the body'],
  [true, ['pwd', 'otp'], null, 'known and had'],
  [true, ['hwk', 'pin'], null, 'had and known'],
  [true, ['swk', 'fpt'], null, 'had and of the body'],
  [true, ['pwd', 'face'], null, 'known and of the body'],
  [true, ['mfa'], null, 'the provider says so'],
  [true, ['user', 'pwd', 'geo', 'sc'], null, 'two kinds among others'],
  [false, ['pwd', 'user', 'rba', 'geo', 'wia', 'mca'], null, 'what proves nothing of its own is no factor'],
  [false, ['pwd', 'superstrong'], null, 'a method nobody knows'],
  [false, ['pwd', 'OTP'], null, 'names are exact'],
  [false, ['pwd', '__proto__', 'constructor'], null, 'names of the language'],
  [true, [], SECOND_FACTOR_ACR, 'the acr that means it'],
  [false, [], 'urn:gold', 'an acr that means something elsewhere'],
])('%s: %j, acr %j (%s)', (expected, amr, acr) => {
  expect(hasSecondFactor({ amr, acr })).toBe(expected);
});
