/** The scripted browser of the demo, under the name tests use. One implementation, so that both walk the same way. */
export { browser, cookieJar, hiddenFields, signInAndConsent } from '../../scripts/lib/scripted-browser.ts';
export type { CookieJar, Page } from '../../scripts/lib/scripted-browser.ts';
