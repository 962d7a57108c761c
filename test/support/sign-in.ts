/** How strict the admin plane is in tests: as a production configuration is (ID-07). Tokens of the test issuer for it are strong enough. */
import type { SignInRule } from '../../src/admin/sign-in-rule.ts';

export const STRICT_SIGN_IN: SignInRule = {
  maxAgeSeconds: 43_200,
  sensitiveMaxAgeSeconds: 900,
  acrValues: ['https://refeds.org/profile/mfa'],
  unsafeNoSecondFactor: false,
  unsafeIssuedAtAsSignIn: false,
  unsafeBreakGlassWithoutSecondFactor: false,
};
