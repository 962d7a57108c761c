/** The scripted browser of the demo, under the name tests use. One implementation, so that both walk the same way. */
export { browser, cookieJar, hiddenFields, signInAndConsent, textOf } from '../../scripts/lib/scripted-browser.ts';
export type { Browser, CookieJar, Page, SignInOptions } from '../../scripts/lib/scripted-browser.ts';
