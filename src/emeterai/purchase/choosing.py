"""The payment providers that the settings name, ready to be asked."""

from __future__ import annotations

from emeterai.infra.settings import PREFIX, Settings, SettingsError, secret_in
from emeterai.purchase import midtrans, sandbox_words, xendit
from emeterai.purchase.midtrans import MidtransProvider
from emeterai.purchase.provider import PaymentProvider
from emeterai.purchase.sandbox import SandboxProvider
from emeterai.purchase.xendit import XenditProvider

_BANKS = ("bca", "bni", "bri")
"""Those that both providers keep virtual accounts at."""


def payment_providers(settings: Settings) -> list[PaymentProvider]:
    """The providers in their order of preference. Raises SettingsError when one is unknown, or its key is missing."""
    names = settings.payment_provider_names
    if not names or len(set(names)) < len(names):
        raise SettingsError(f"{PREFIX}PAYMENT_PROVIDERS: names at least one provider, and each once")
    if settings.payment_bank not in _BANKS:
        raise SettingsError(f"{PREFIX}PAYMENT_BANK: one of {', '.join(_BANKS)}")
    return [_provider(name, settings) for name in names]


def pay_page_urls(settings: Settings) -> tuple[str, ...]:
    """Where buyers may be sent to pay, besides our own pages."""
    pages = {sandbox_words.PROVIDER_NAME: settings.sandbox_page_url, midtrans.PROVIDER_NAME: settings.midtrans_url}
    return tuple(pages[name] for name in settings.payment_provider_names if name in pages)


def _provider(name: str, settings: Settings) -> PaymentProvider:
    match name:
        case sandbox_words.PROVIDER_NAME:
            return SandboxProvider(settings.sandbox_url, sandbox_words.sandbox_secret(settings.data_path))
        case midtrans.PROVIDER_NAME:
            key = secret_in(settings.midtrans_server_key_file, "MIDTRANS_SERVER_KEY_FILE")
            return MidtransProvider(settings.midtrans_url, key, bank=settings.payment_bank)
        case xendit.PROVIDER_NAME:
            key = secret_in(settings.xendit_secret_key_file, "XENDIT_SECRET_KEY_FILE")
            token = secret_in(settings.xendit_callback_token_file, "XENDIT_CALLBACK_TOKEN_FILE")
            return XenditProvider(settings.xendit_url, key, callback_token=token, bank=settings.payment_bank)
    raise SettingsError(f"{PREFIX}PAYMENT_PROVIDERS: there is no provider called {name!r}")
