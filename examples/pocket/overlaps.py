"""Tools of different data sets that could rightly take the same request.

Such a request is never shown as a refusal, or as a call to another tool, while one of them is
offered. Chosen by reading the intents' definitions.
"""

from __future__ import annotations

_OVERLAPS: dict[str, str] = {
    "add_to_playlist": "update_playlist do_play_music lists_createoradd music_likeness "
    "music_settings play_audiobook play_song",
    "book_restaurant": "restaurant_reservation accept_reservations confirm_reservation "
    "cancel_reservation restaurant_suggestion recommendation_locations takeaway_order how_busy",
    "get_weather": "do_weather weather_query",
    "play_music": "do_play_music play_song next_song what_song update_playlist play_radio "
    "play_podcasts play_audiobook music_likeness music_query music_settings play_game "
    "music_dislikeness",
    "rate_book": "play_audiobook restaurant_reviews",
    "search_creative_work": "play_song do_play_music play_audiobook play_podcasts play_radio "
    "play_game music_query what_song recommendation_movies qa_factoid",
    "search_screening_event": "recommendation_movies recommendation_events",
    "do_weather": "weather_query",
    "do_alarm": "alarm_set alarm_query",
    "do_calendar": "calendar_query",
    "calendar_update": "calendar_set calendar_remove",
    "do_reminder": "calendar_set calendar_query",
    "reminder_update": "calendar_set",
    "do_recipe": "cooking_recipe",
    "meal_suggestion": "cooking_recipe",
    "do_definition": "qa_definition",
    "do_translate": "qa_definition",
    "exchange_rate": "qa_currency",
    "do_calculator": "qa_maths",
    "do_time": "datetime_query",
    "do_date": "datetime_query",
    "do_timezone": "datetime_query datetime_convert",
    "do_uber": "transport_taxi",
    "do_traffic": "transport_traffic",
    "do_directions": "transport_query",
    "book_flight": "transport_ticket",
    "tell_joke": "general_joke",
    "do_greeting": "general_greet",
    "shopping_list": "lists_query",
    "shopping_list_update": "lists_createoradd lists_remove",
    "todo_list": "lists_query",
    "todo_list_update": "lists_createoradd lists_remove",
    "change_volume": "audio_volume_up audio_volume_down audio_volume_mute audio_volume_other",
    "meeting_schedule": "calendar_query",
    "schedule_meeting": "calendar_set",
    "smart_home": "iot_hue_lightoff iot_hue_lighton iot_hue_lightdim iot_hue_lightup "
    "iot_hue_lightchange iot_cleaning iot_coffee iot_wemo_on iot_wemo_off",
    "update_playlist": "lists_createoradd music_likeness",
    "do_play_music": "play_song",
    "what_song": "music_query",
    "restaurant_suggestion": "recommendation_locations",
    "order_status": "takeaway_query",
    "do_order": "takeaway_order",
}
_PAIRS = frozenset(
    frozenset((tool, other)) for tool, others in _OVERLAPS.items() for other in others.split()
)


def overlap(tool: str, other: str) -> bool:
    """True where a request for one of the tools may suit the other as well."""
    return tool == other or frozenset((tool, other)) in _PAIRS
